"""How the embedded zoo and the embedded faces were made; re-runnable, never needed to use them."""
