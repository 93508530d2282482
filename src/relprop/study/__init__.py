"""The paper's study: rows measured once and kept on disk, and everything that is told from them."""
