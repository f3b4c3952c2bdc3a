"""What pydantic, json, PyYAML and the operating system say of a fault: no message of ours may."""

from __future__ import annotations

import re

RAW = re.compile(
    r"Errno|[Ii]nput should|should (match|have|be)|valid (string|boolean|integer|number|dictionary|list|tuple)|"
    r"greater than|less than or|Extra (inputs|data)|not permitted|Field required|Value error|pydantic|"
    r"can't decode|codec|Expecting|delimiter|block end|scalar|while (scanning|parsing)|could not find expected|"
    r"No such file or directory|Is a directory|Permission denied|type=|errors\.pydantic|Traceback|"
    r"validation errors? for|ValidationError"
)
