"""All generator functions of the collection."""

from __future__ import annotations

import collected_expressions  # noqa: F401
import collected_functions  # noqa: F401
import collected_statements  # noqa: F401
from collecting import COLLECTED, NOTES, Body

__all__ = ["COLLECTED", "NOTES", "Body"]
