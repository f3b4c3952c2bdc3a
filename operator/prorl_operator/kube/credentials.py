"""Where the cluster is and who we are there, as the official client finds it out."""

from __future__ import annotations

from kubernetes import client, config
from kubernetes.config.config_exception import ConfigException

from prorl_api.errors import Fault, SpecError

ApiClient = client.ApiClient


def load_api_client() -> client.ApiClient:
    """Return the official client with the pod's service account, or with the kubeconfig.

    Raises:
        SpecError: Neither of them exists.
    """
    try:
        config.load_incluster_config()
    except ConfigException:
        try:
            config.load_kube_config()
        except ConfigException as error:
            fault = Fault(path="KUBECONFIG", got=f"neither a service account nor a kubeconfig ({error})", want="set it")
            raise SpecError([fault], source="the environment") from error
    return client.ApiClient()
