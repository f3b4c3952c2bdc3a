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

echo "laptop CPU: installed beside nothing else, its engines import, a first manifest is written and judged"
$UV venv --quiet --python "$PYTHON" "$folder/laptop"
$UV pip install --quiet --python "$folder/laptop/bin/python" --override requirements/overrides.txt \
  "prorl[cli,learner,sandbox,rollout-cpu] @ $wheel"
DS_ACCELERATOR=cpu "$folder/laptop/bin/python" -c "import deepspeed, transformers, vllm" 2>"$folder/log" || { tail "$folder/log"; exit 1; }
cd "$folder"
"$folder/laptop/bin/python" - <<'EOF' 2>"$folder/log" || { tail "$folder/log"; exit 1; }
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

words = {"<s>": 0, "</s>": 1, "Question": 2, ":": 3}
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<s>")), bos_token="<s>", eos_token="</s>"
)
tokenizer.save_pretrained("model")
LlamaForCausalLM(
    LlamaConfig(vocab_size=4, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
).save_pretrained("model")
EOF
printf '{"question": "%s + 1?", "answer": "2"}\n' 1 2 3 4 5 6 7 8 > own.jsonl
laptop/bin/prorl init math --model model --data own.jsonl
laptop/bin/prorl validate job.yaml
cd - >/dev/null

echo "GPU: resolved"
install --dry-run "prorl[cli,learner,sandbox,rollout-gpu] @ $wheel"
