"""How each kind of op hands relevance down."""
