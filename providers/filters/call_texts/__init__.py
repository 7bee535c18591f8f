"""Parts of calls that models write as text: special tokens, types of arguments, near-right JSON."""
