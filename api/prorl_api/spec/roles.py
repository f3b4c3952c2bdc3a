"""`spec.model`, `spec.volumes`, `spec.rollout`, `spec.learner`, `spec.sandbox`: what runs, and with what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from prorl_api.spec.base import Cel, Change, Name, SpecModel, rule
from prorl_api.spec.values import (
    LIBRARIES,
    EngineKind,
    IsolationLevel,
    Libraries,
    Precision,
    RecomputeGranularity,
    ReferencePlace,
    Role,
)

Path = Annotated[str, Field(min_length=1, max_length=4096)]
_QUANTITY = r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$"
Quantity = Annotated[str, Field(pattern=_QUANTITY, max_length=64)] | Annotated[int, Field(ge=0, le=2**63 - 1)]
"""An amount as Kubernetes writes it: `64Gi`, `500m`, `8`."""
PodTemplate = Annotated[dict[str, Any], Field(max_length=64)]


class ModelSpec(SpecModel):
    """The base model: initial policy and first reference."""

    path: Path
    """Folder in Hugging Face format (config, tokenizer, safetensors), relative to the manifest's folder; or a hub
    name where a hub is reachable. A run on one machine goes on with the same weights from wherever they lie now."""


class InitFrom(SpecModel):
    """Continue another run: its policy, and its reference with the lineage."""

    run: Path
    """The other run's folder."""
    checkpoint: Annotated[str, Field(pattern=r"^(best|last|step-[0-9]{1,9})$", max_length=14)] = "last"
    """`best` by validation accuracy, `last`, or `step-N`."""
    optimizer: bool = False
    """Take the optimizer's state along too."""


class Volume(SpecModel):
    """A persistent volume claim mounted into the pods of some roles."""

    name: Name
    """Unique; `spec.checkpoint.volume` refers to it."""
    claim_name: Annotated[str, Field(min_length=1, max_length=253)]
    """PersistentVolumeClaim in the job's namespace."""
    mount_path: Annotated[str, Field(pattern=r"^/", max_length=4096)]
    """Absolute path inside the pods."""
    roles: Annotated[tuple[Role, ...], Field(min_length=1, max_length=3)] = (Role.LEARNER,)
    """Roles whose pods mount it."""
    read_only: bool = False
    """Mounted without the right to write."""


class Resources(SpecModel):
    """A container's resources, as in a pod."""

    requests: Annotated[dict[str, Quantity], Field(max_length=32)] = {}
    """Resource name to quantity, such as `{nvidia.com/gpu: 8, memory: 64Gi}`."""
    limits: Annotated[dict[str, Quantity], Field(max_length=32)] = {}
    """Resource name to quantity."""

    @property
    def gpus(self) -> dict[str, int]:
        """GPUs that the container is given, by resource name; an amount of 0 is none."""
        named = {name: str(amount) for name, amount in self.limits.items() if name.endswith("/gpu")}
        return {name: int(amount) for name, amount in named.items() if amount.isdecimal() and int(amount)}


class RolloutSpec(SpecModel):
    """vLLM rollout servers and how they sample."""

    replicas: Annotated[int, Field(ge=1, le=1024), Change.LIVE] = 1
    """Rollout servers."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs a server spreads one model over."""
    dtype: Precision = Precision.BFLOAT16
    """Number format of the served weights."""
    temperature: Annotated[float, Field(gt=0.0, le=5.0), Change.STEP_BOUNDARY] = 1.2
    """Sampling temperature in training. Log-probabilities are those of the tempered distribution, on both sides."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0), Change.STEP_BOUNDARY] = 1.0
    """Nucleus sampling in training; below 1 is refused until the learner models the truncation."""
    max_prompt_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """Longer prompts are an error when they stand in a file; generated ones are passed over and counted."""
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000), Change.STEP_BOUNDARY] = 8192
    """Completions are cut here and counted as truncated. Engines are sized for the longest of this and all stages when
    they start: up to there an edit holds from the next step on, a longer one waits for the next attempt."""
    stop: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(max_length=16)] = ()
    """Strings that end a completion, beside the model's end tokens."""
    max_running_sequences: Annotated[int, Field(ge=1, le=4096)] = 256
    """Sequences a server decodes at once."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of the GPU's memory for the server."""
    cpu_kv_cache_bytes: Annotated[int, Field(ge=64 * 2**20, le=2**42)] = 4 * 2**30
    """Key-value cache of a server without a GPU."""
    enforce_eager: bool = False
    """No compilation in vLLM: starts faster, generates slower."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads of a server; 0: vLLM decides."""
    generation_timeout_seconds: Annotated[float, Field(gt=0, le=86400), Change.STEP_BOUNDARY] = 3600.0
    """A group that takes longer is given to another server."""
    resources: Resources | None = None
    """Resources of a rollout pod."""
    pod_template: PodTemplate | None = None
    """Strategic additions to the pods (node selectors, tolerations, affinity, priority class)."""

    @rule(
        Cel(
            "self.topP == 1.0",
            "`topP` must be 1.0 in training, got {self.topP}: the learner does not model truncation",
        ),
    )
    def untruncated_sampling(self) -> None:
        """The learner's probabilities are over the whole vocabulary; nucleus sampling would make ratios wrong."""
        if self.top_p < 1.0:
            raise ValueError(f"`topP` must be 1.0 in training, got {self.top_p}: the learner does not model truncation")


class OptimizerSpec(SpecModel):
    """AdamW with warm-up to a constant rate."""

    learning_rate: Annotated[float, Field(gt=0, le=1.0), Change.STEP_BOUNDARY] = 2e-6
    """Constant after the warm-up (ProRL: 2e-6)."""
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Optimizer steps of linear warm-up from 0; starts again when a reset clears the optimizer."""
    weight_decay: Annotated[float, Field(ge=0, le=10.0)] = 0.0
    """Decoupled weight decay."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the first moment."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the second moment."""
    epsilon: Annotated[float, Field(gt=0, le=1.0)] = 1e-8
    """Added to the denominator."""
    gradient_clip: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Largest global gradient norm."""


class DeepSpeedSpec(SpecModel):
    """Settings of the DeepSpeed engine."""

    zero_stage: Annotated[int, Field(ge=0, le=3)] = 2
    """What is sharded over ranks: 0 nothing (and no DeepSpeed), 1 optimizer, 2 and gradients, 3 and parameters. A
    begun run may change it: a checkpoint of any stage is read by any other."""
    offload_optimizer: bool = False
    """Keep the optimizer's state in host memory."""

    @rule(
        Cel(
            "!self.offloadOptimizer || self.zeroStage > 0",
            "`offloadOptimizer` has no effect with `zeroStage: 0`; set a stage of 1 to 3",
        ),
    )
    def only_zero_offloads(self) -> None:
        """At stage 0 DeepSpeed has no part in it."""
        if self.offload_optimizer and self.zero_stage == 0:
            raise ValueError("`offloadOptimizer` has no effect with `zeroStage: 0`; set a stage of 1 to 3")


class LearnerSpec(SpecModel):
    """The learner: batch shape, engine, optimizer."""

    replicas: Annotated[int, Field(ge=1, le=1024)] = 1
    """Learner pods."""
    processes_per_replica: Annotated[int, Field(ge=1, le=64)] = 1
    """Ranks in a pod, one a GPU. `replicas` times this is the number of ranks, which a begun run may change: a
    checkpoint of so many is read by any other number."""
    precision: Annotated[Precision, Change.IMMUTABLE] = Precision.BFLOAT16
    """Number format of weights and computation; bfloat16 keeps a float32 master copy."""
    head_precision: Precision = Precision.FLOAT32
    """Number format of the logits; bfloat16 rounds them to 8 bits, as much error as all the layers before add."""
    engine: Annotated[EngineKind, Change.IMMUTABLE] = EngineKind.DEEPSPEED
    deepspeed: DeepSpeedSpec = DeepSpeedSpec()
    reference: ReferencePlace = ReferencePlace.RESIDENT
    prompts_per_step: Annotated[int, Field(ge=1, le=65536), Change.STEP_BOUNDARY] = 256
    """Groups in a batch, after dynamic sampling."""
    group_size: Annotated[int, Field(ge=2, le=4096), Change.STEP_BOUNDARY] = 16
    """Rollouts of one prompt."""
    minibatch_prompts: Annotated[int, Field(ge=1, le=65536), Change.STEP_BOUNDARY] = 64
    """Groups in one optimizer step; must divide `promptsPerStep`. Below it, later optimizer steps of a batch are
    off-policy and the clip acts."""
    microbatch_tokens: Annotated[int, Field(ge=16, le=4_194_304)] = 16384
    """Positions in one packed sequence of the forward pass; must hold one prompt with one completion."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory for more time."""
    recompute_granularity: RecomputeGranularity = RecomputeGranularity.FULL
    """What `gradientCheckpointing` recomputes: `full`, each layer, for a third more time; `selective`, what is cheap,
    while products of matrices and attention's outputs are kept."""
    offload_activations: bool = False
    """Keep in host memory what `gradientCheckpointing` stores, the input of each layer; needs a GPU."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads of a rank; 0: torch decides."""
    progress_timeout_seconds: Annotated[float, Field(gt=0, le=86400), Change.LIVE] = 1800.0
    """Without progress for so long the learner dumps its stacks and exits, to be started again."""
    optimizer: OptimizerSpec = OptimizerSpec()
    resources: Resources | None = None
    """Resources of a learner pod."""
    pod_template: PodTemplate | None = None
    """Strategic additions to the pods."""

    @rule(
        Cel(
            "self.headPrecision == 'float32' || self.precision == 'bfloat16'",
            "`headPrecision: {self.headPrecision}` needs `precision: bfloat16`, got {self.precision}",
        ),
    )
    def head_is_no_coarser_than_the_body(self) -> None:
        """A float32 model has a float32 head."""
        if self.head_precision is Precision.BFLOAT16 and self.precision is not Precision.BFLOAT16:
            raise ValueError(
                f"`headPrecision: {self.head_precision}` needs `precision: bfloat16`, got {self.precision}"
            )

    @rule(
        Cel(
            "self.promptsPerStep % self.minibatchPrompts == 0",
            "`minibatchPrompts` must divide `promptsPerStep`, got {self.minibatchPrompts} and {self.promptsPerStep}",
        ),
    )
    def minibatches_divide_the_batch(self) -> None:
        """Every optimizer step sees the same number of groups."""
        if self.prompts_per_step % self.minibatch_prompts:
            raise ValueError(
                f"`minibatchPrompts` must divide `promptsPerStep`, got {self.minibatch_prompts} and "
                f"{self.prompts_per_step}"
            )

    @rule(
        Cel(
            "!self.offloadActivations || self.gradientCheckpointing",
            "`offloadActivations` needs `gradientCheckpointing: true`: it offloads what that stores of each layer",
        ),
    )
    def only_checkpoints_are_offloaded(self) -> None:
        """Without it, all that layers save would go over the bus, weights among it."""
        if self.offload_activations and not self.gradient_checkpointing:
            raise ValueError(
                "`offloadActivations` needs `gradientCheckpointing: true`: it offloads what that stores of each layer"
            )

    @rule(
        Cel(
            "self.recomputeGranularity == 'full' || (self.gradientCheckpointing && "
            "(self.engine == 'plain' || self.deepspeed.zeroStage < 3))",
            "`recomputeGranularity: selective` needs `gradientCheckpointing: true`, without which nothing is computed "
            "again, and `deepspeed.zeroStage` below 3",
        ),
    )
    def what_is_recomputed_can_be_chosen(self) -> None:
        """Without checkpointing nothing reads it; under ZeRO-3 a layer's operators are not the same both times."""
        is_sharded = self.engine is EngineKind.DEEPSPEED and self.deepspeed.zero_stage == 3
        if self.recompute_granularity is RecomputeGranularity.FULL:
            return
        if is_sharded or not self.gradient_checkpointing:
            raise ValueError(
                "`recomputeGranularity: selective` needs `gradientCheckpointing: true`, without which nothing is "
                "computed again, and `deepspeed.zeroStage` below 3"
            )

    @rule(
        Cel(
            "self.reference != 'sharded' || (self.engine == 'deepspeed' && self.deepspeed.zeroStage == 3 && "
            "self.replicas * self.processesPerReplica > 1)",
            "`reference: sharded` needs `engine: deepspeed` with `deepspeed.zeroStage` 3 and more than one rank; use "
            "`resident` or `offloaded`",
        ),
    )
    def ranks_share_a_sharded_reference(self) -> None:
        """One rank has nobody to share with, and below stage 3 each holds the whole policy anyway."""
        ranks = self.replicas * self.processes_per_replica
        shards = self.engine is EngineKind.DEEPSPEED and self.deepspeed.zero_stage == 3 and ranks > 1
        if self.reference is ReferencePlace.SHARDED and not shards:
            raise ValueError(
                "`reference: sharded` needs `engine: deepspeed` with `deepspeed.zeroStage` 3 and more than one rank; "
                "use `resident` or `offloaded`"
            )

    @rule(
        Cel(
            "self.engine != 'plain' || self.replicas * self.processesPerReplica == 1",
            "engine `plain` runs one process, got `replicas` x `processesPerReplica` = "
            "{self.replicas * self.processesPerReplica}; use `deepspeed`",
        ),
    )
    def plain_engine_is_one_process(self) -> None:
        """The plain engine does not shard."""
        ranks = self.replicas * self.processes_per_replica
        if self.engine is EngineKind.PLAIN and ranks > 1:
            raise ValueError(
                f"engine `plain` runs one process, got `replicas` x `processesPerReplica` = {ranks}; use `deepspeed`"
            )


class Isolation(SpecModel):
    """What must contain model-written programs."""

    minimum: IsolationLevel = "process"
    """Weakest acceptable level; a sandbox that obtains less does not start."""
    network: Literal["in-process", "policy-verified"] = "in-process"
    """What must keep programs off the network: the level of isolation, or a network policy that was seen to hold
    before training starts (a cluster's; the level does so besides)."""


class SandboxSpec(SpecModel):
    """Reward sandboxes: verifiers and program execution."""

    replicas: Annotated[int, Field(ge=1, le=1024), Change.LIVE] = 1
    """Sandboxes."""
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    """Verifier processes, and programs at once, in one sandbox."""
    score_timeout_seconds: Annotated[float, Field(gt=0, le=600), Change.STEP_BOUNDARY] = 10.0
    """Limit for judging one completion."""
    max_masked_fraction: Annotated[float, Field(ge=0, le=1), Change.STEP_BOUNDARY] = 0.2
    """Share of a step's rollouts that may stay without a reward because the judge failed; beyond it training stops."""
    libraries: Libraries = LIBRARIES
    """What programs in Python may import besides the standard library. A row's own `libraries` takes its place."""
    isolation: Isolation = Isolation()
    runtime_class_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """RuntimeClass of the pods, such as `gvisor`."""
    resources: Resources | None = None
    """Resources of a sandbox pod."""
    pod_template: PodTemplate | None = None
    """Strategic additions to the pods."""
