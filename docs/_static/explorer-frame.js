// The explorer in its frame: as high as it wants to be, dark where the site is dark.
addEventListener("DOMContentLoaded", () => {
  const frame = document.querySelector("iframe.explorer");
  if (!frame) return;
  const root = document.documentElement;
  const tell = () => frame.contentWindow.postMessage({ theme: root.dataset.theme }, "*");
  addEventListener("message", ({ data, source }) => {
    if (source !== frame.contentWindow || !data?.explorer) return;
    frame.style.height = `${data.explorer}px`;
    tell();
  });
  new MutationObserver(tell).observe(root, { attributeFilter: ["data-theme"] });
  frame.addEventListener("load", tell);
});
