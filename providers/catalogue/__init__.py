"""The in-memory directory of providers and models: which candidates answer for a public id.

`Catalogue.read_catalogue_rows()` loads all rows (a few hundred at most) and
`Catalogue.apply_rows()` puts them in force in one step, so a request never sees a mixture of old
and new rows. Requests get frozen values, never rows: a `Candidate` (a ChatModel as it was read)
with the adapter of its `Upstream`.
"""

from providers.catalogue.candidate import Candidate, find_smallest_window
from providers.catalogue.catalogue_rows import ResolvedModel, make_upstream
from providers.catalogue.directory import Catalogue

__all__ = ["Candidate", "Catalogue", "ResolvedModel", "find_smallest_window", "make_upstream"]
