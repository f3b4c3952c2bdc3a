#!/bin/bash
# Installs the wheel as docs/install.md says, in fresh environments. UV is uv, PYTHON a Python 3.11 or 3.12.
set -euo pipefail
UV=${UV:-uv} PYTHON=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
$UV build --quiet --wheel --out-dir "$folder" .
wheel=$(ls "$folder"/*.whl)
$UV venv --quiet --python "$PYTHON" "$folder/env"
install() { $UV pip install --quiet --python "$folder/env/bin/python" "$@"; }

echo "base: one line that says what is missing"
install "$wheel"
said=$("$folder/env/bin/prorl" --help 2>&1) && exit 1
[[ $said == *"pip install 'prorl[cli]'" && $(wc -l <<<"$said") == 1 ]]

echo "cli alone: help, and data that no judge is needed for"
install "prorl[cli] @ $wheel"
"$folder/env/bin/prorl" --help >/dev/null
echo '{"prompt": "1 + 1?", "row": {"answer": "2"}}' > "$folder/rows.jsonl"
"$folder/env/bin/prorl" data check "$folder/rows.jsonl" --domain math --verify-share 0 >/dev/null
said=$("$folder/env/bin/prorl" data check "$folder/rows.jsonl" --domain math 2>&1) && exit 1
[[ $said == *"pip install 'prorl[sandbox]'"* && $said != *Traceback* ]]

echo "verifiers: imported and used"
install "prorl[verifiers] @ $wheel"
"$folder/env/bin/python" -c "import prorl_verifiers"

echo "laptop CPU and GPU: resolved"
install --dry-run --override requirements/overrides.txt "prorl[cli,learner,sandbox,rollout-cpu] @ $wheel"
install --dry-run "prorl[cli,learner,sandbox,rollout-gpu] @ $wheel"
