"""What is wrong with a run and what to do about it: one table for status, report, conditions and alerts."""

from prorl_control.advice import bounds
from prorl_control.advice.sight import cuts_answers
from prorl_control.advice.table import TABLE, TRUNCATION, Advice, Rule, Severity, advise, advise_on

__all__ = ["TABLE", "TRUNCATION", "Advice", "Rule", "Severity", "advise", "advise_on", "bounds", "cuts_answers"]
