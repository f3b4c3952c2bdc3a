# The images of a job, one target each: operator, learner, rollout-server, reward-sandbox. See docs/images.md.
#
#   docker build --target learner --build-arg VARIANT=gpu --tag prorl/learner .

# Any image with Python 3.11 as `python3`, Debian's apt and certificate authorities.
ARG BASE=docker.io/library/python:3.11-slim-bookworm
# cpu or gpu: which vLLM, and whether CUDA's libraries are there. The operator and the sandbox are the same in both.
ARG VARIANT=cpu

# ---- what every image is: the base, a user without rights, and nothing that could give it any
FROM ${BASE} AS runtime
RUN groupadd --gid 65532 prorl \
 && useradd --uid 65532 --gid 65532 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin prorl \
 && find / -xdev -type f -perm /6000 -exec chmod ug-s {} + \
 && find / -xdev -type d -perm -0002 ! -path /tmp ! -path '/proc/*' ! -path '/sys/*' ! -path '/dev/*' -exec chmod o-w {} +
# The root filesystem may be read-only: whatever libraries keep goes to /tmp. USER is there for who runs the image
# under a number that /etc/passwd does not know. PYTHONSAFEPATH: nothing is imported from the working directory.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    USER=prorl \
    LANG=C.UTF-8 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /
LABEL org.opencontainers.image.vendor="ProRL" org.opencontainers.image.licenses="Apache-2.0"

# ---- the same with a C++ compiler, which PyTorch (CPU) and Triton (GPU) call when an engine starts
FROM runtime AS runtime-compiler
# Python's own headers come with Python, but for Debian's.
RUN include=$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))') \
 && if [ -e "$include/Python.h" ]; then headers=; else headers=libpython3-dev; fi \
 && apt-get update \
 && apt-get install --quiet --quiet --yes --no-install-recommends g++ libnuma1 $headers \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*

# ---- what is only needed to build
FROM runtime-compiler AS builder
# certifi's list does not hold the authorities that a company adds to its base; the system's does.
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    PATH=/build/tools/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/root \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    PYC_INVALIDATION_MODE=UNCHECKED_HASH
COPY requirements/tools.lock /build/
RUN if ! python3 -c 'import ensurepip'; then \
      apt-get update && apt-get install --quiet --quiet --yes --no-install-recommends python3-venv; \
    fi \
 && python3 -m venv /build/tools \
 && /build/tools/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check \
      --require-hashes -r /build/tools.lock \
 && uv venv --quiet --python "$(command -v python3)" /opt/venv

# ---- this project's wheel, which images take their packages from
FROM builder AS wheel
COPY requirements/image-build.lock /build/requirements/
COPY images/place-packages.sh /build/images/
COPY pyproject.toml README.md LICENSE /build/source/
COPY api /build/source/api
COPY control /build/source/control
COPY operator /build/source/operator
COPY trainer /build/source/trainer
COPY rollout_server /build/source/rollout_server
COPY verifiers /build/source/verifiers
COPY reward_sandbox /build/source/reward_sandbox
COPY cli /build/source/cli
COPY observability /build/source/observability
COPY analysis /build/source/analysis
COPY charts/prorl-operator/files/dashboards /build/source/charts/prorl-operator/files/dashboards
RUN --mount=type=cache,target=/root/.cache/uv \
    uv build --quiet --wheel --build-constraints /build/requirements/image-build.lock --require-hashes \
      --out-dir /build/wheel /build/source

# ---- what fills an environment
FROM builder AS venv
COPY images/fill-venv.sh images/without_cuda.py /build/images/

# ---- one virtual environment an image: large, and the same as long as the locked requirements are
FROM venv AS operator-venv
COPY requirements/image-operator.lock /build/requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    sh /build/images/fill-venv.sh /build/requirements/image-operator.lock

FROM venv AS reward-sandbox-venv
COPY requirements/image-sandbox.lock /build/requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    sh /build/images/fill-venv.sh /build/requirements/image-sandbox.lock

FROM venv AS learner-venv
ARG VARIANT
COPY requirements/image-learner.lock /build/requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    sh /build/images/fill-venv.sh /build/requirements/image-learner.lock "${VARIANT}"

FROM venv AS trackers-venv
COPY requirements/trackers.lock /build/requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    sh /build/images/fill-venv.sh /build/requirements/trackers.lock

FROM venv AS rollout-server-venv
ARG VARIANT
COPY requirements/image-rollout-*.lock /build/requirements/
RUN --mount=type=cache,target=/root/.cache/uv \
    sh /build/images/fill-venv.sh "/build/requirements/image-rollout-${VARIANT}.lock" "${VARIANT}"

# ---- the packages of one component: small
FROM wheel AS operator-packages
RUN sh /build/images/place-packages.sh prorl_api prorl_control prorl_operator

FROM wheel AS reward-sandbox-packages
RUN sh /build/images/place-packages.sh prorl_api prorl_verifiers prorl_reward_sandbox

FROM wheel AS learner-packages
RUN sh /build/images/place-packages.sh prorl_api prorl_trainer

FROM wheel AS rollout-server-packages
RUN sh /build/images/place-packages.sh prorl_api prorl_rollout_server

# ---- the images
FROM runtime AS operator
LABEL org.opencontainers.image.title="prorl operator" \
      org.opencontainers.image.description="Runs ProRLJobs in a Kubernetes cluster"
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/opt/venv/bin/python", "-m", "prorl_operator"]
COPY --from=operator-venv /opt/venv /opt/venv
COPY --from=operator-packages /opt/prorl /opt/prorl
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

FROM runtime AS reward-sandbox
LABEL org.opencontainers.image.title="prorl reward sandbox" \
      org.opencontainers.image.description="Judges completions, and runs programs that a model wrote"
USER 65532:65532
EXPOSE 8000
ENTRYPOINT ["/opt/venv/bin/python", "-m", "prorl_reward_sandbox"]
COPY --from=reward-sandbox-venv /opt/venv /opt/venv
COPY --from=reward-sandbox-packages /opt/prorl /opt/prorl
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

FROM runtime AS learner
ARG VARIANT
LABEL org.opencontainers.image.title="prorl learner (${VARIANT})" \
      org.opencontainers.image.description="Trains the policy of a ProRLJob"
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 65532:65532
EXPOSE 8000 29500
ENTRYPOINT ["/opt/venv/bin/python", "-m", "prorl_trainer.launch"]
COPY --from=learner-venv /opt/venv /opt/venv
COPY --from=learner-packages /opt/prorl /opt/prorl
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"

# The same with an environment for Weights & Biases, MLflow, Trackio and TensorBoard: docs/trackers.md.
FROM learner AS learner-with-trackers
ENV PRORL_TRACKER_PYTHON=/opt/trackers/bin/python
COPY --from=trackers-venv /opt/venv /opt/trackers

FROM runtime-compiler AS rollout-server
ARG VARIANT
LABEL org.opencontainers.image.title="prorl rollout server (${VARIANT})" \
      org.opencontainers.image.description="Samples completions for a ProRLJob with vLLM"
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 65532:65532
EXPOSE 8000
ENTRYPOINT ["/opt/venv/bin/python", "-m", "prorl_rollout_server"]
COPY --from=rollout-server-venv /opt/venv /opt/venv
COPY --from=rollout-server-packages /opt/prorl /opt/prorl
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" org.opencontainers.image.revision="${REVISION}"
