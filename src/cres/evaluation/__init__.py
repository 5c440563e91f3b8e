"""Tables of predictions, their resolution and calibration, plots and the report. Sees tables, never models."""

from cres.evaluation.comparison import Comparison, Row, compare, summarise, terminal_summary
from cres.evaluation.illustrations import Illustration, Panel, Section
from cres.evaluation.report import write_report
from cres.evaluation.table import PredictionTable

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
