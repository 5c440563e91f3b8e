"""How electrons are judged: who is resolved, of whose apparatus a table is, windows of long tracks, a page of them."""

from reconstruction.judging.measures.comparison import Comparison, Row, compare, summarise, terminal_summary
from reconstruction.judging.pictures.illustrations import Illustration, Panel, Section
from reconstruction.judging.report.page import write_report
from reconstruction.judging.tables.table import PredictionTable

__all__ = [
    "Comparison",
    "Illustration",
    "Panel",
    "PredictionTable",
    "Row",
    "Section",
    "compare",
    "summarise",
    "terminal_summary",
    "write_report",
]
