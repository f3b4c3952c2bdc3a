"""What each tracker holds, in the environment that has its library: `python reading.py KIND FOLDER`, as JSON."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Points = list[list[float]]


def tensorboard(folder: Path) -> dict[str, Any]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    texts = {
        tag: [[event.step, event.tensor_proto.string_val[0].decode()] for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }
    scalars = {tag: [[event.step, event.value] for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    return {"runs": 1, "kl": scalars["kl"], "resets": scalars["reset"], "names": sorted(scalars), "texts": texts}


def wandb(folder: Path) -> dict[str, Any]:
    from wandb.proto import wandb_internal_pb2

    found: dict[str, Any] = {"kl": [], "resets": [], "names": set(), "runs": set(), "texts": {}}
    for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for data in _records(file.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            if record.run.run_id:
                found["runs"].add(record.run.run_id)
            if not record.history.item:
                continue
            row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            found["names"] |= set(row)
            if "kl" in row:
                found["kl"].append([row["step"], row["kl"]])
            if "reset" in row:
                found["resets"].append([row["step"], row["reset"]])
                found["texts"].setdefault("reset_reason", []).append([row["step"], row["reset_reason"]])
    return found | {"runs": len(found["runs"]), "names": sorted(found["names"])}


def _records(content: bytes) -> Iterator[bytes]:
    """Records of a transaction log: after 7 bytes blocks of 32 KiB, each part with checksum, length and kind."""
    place, record = 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def mlflow(folder: Path) -> dict[str, Any]:
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=folder.resolve().as_uri())
    experiment = client.get_experiment_by_name("prorl")
    runs = client.search_runs([experiment.experiment_id])
    run, tags = runs[0], runs[0].data.tags

    def points(name: str) -> Points:
        return [[point.step, point.value] for point in client.get_metric_history(run.info.run_id, name)]

    texts = {"reset_reason": sorted([int(k.rpartition(".")[2]), v] for k, v in tags.items() if "reset_reason" in k)}
    return {
        "runs": len(runs),
        "kl": points("kl"),
        "resets": points("reset"),
        "names": sorted(run.data.metrics),
        "texts": texts,
        "status": run.info.status,
        "params": run.data.params,
    }


def trackio(folder: Path) -> dict[str, Any]:
    os.environ["TRACKIO_DIR"] = str(folder.resolve())
    from trackio.sqlite_storage import SQLiteStorage

    runs = SQLiteStorage.get_runs("prorl")
    logs = SQLiteStorage.get_logs("prorl", runs[0])
    return {
        "runs": len(runs),
        "kl": [[row["step"], row["kl"]] for row in logs if "kl" in row],
        "resets": [[row["step"], row["reset"]] for row in logs if "reset" in row],
        "names": sorted({name for row in logs for name in row}),
        "texts": {"reset_reason": [[row["step"], row["reset_reason"]] for row in logs if "reset_reason" in row]},
    }


if __name__ == "__main__":
    readers = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow, "trackio": trackio}
    sys.stdout.write(json.dumps(readers[sys.argv[1]](Path(sys.argv[2]))))
