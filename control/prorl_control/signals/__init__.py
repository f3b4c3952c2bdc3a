"""The series that resets are decided on, as a Prometheus holds it: questions, answers, and lines made of them. Pure.

The other source is the learner's own series (`resets.series`). Both give lines of the metrics table; whatever asks over
HTTP lies with the bodies.
"""
