{{/* What the operator is told: the variables of prorl_operator/settings.py. */}}
{{- define "prorl-operator.environment" -}}
- name: PRORL_OPERATOR_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: PRORL_OPERATOR_IDENTITY
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: PRORL_OPERATOR_LEASE
  value: {{ include "prorl-operator.leaseName" . }}
- name: PRORL_OPERATOR_KEY_FILE
  value: /etc/prorl-operator/token-key
- name: PRORL_OPERATOR_HTTP_ADDRESS
  value: "0.0.0.0:8080"
- name: PRORL_OPERATOR_WORKERS
  value: {{ .Values.workers | quote }}
- name: PRORL_OPERATOR_LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: PRORL_WATCH_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
{{- range $role := list "learner" "rollout" "sandbox" }}
- name: PRORL_IMAGE_{{ upper $role }}
  value: {{ include "prorl-operator.image" (dict "root" $ "of" $role) }}
{{- end }}
- name: PRORL_IMAGE_PULL_POLICY
  value: {{ .Values.images.pullPolicy }}
- name: PRORL_IMAGE_PULL_SECRETS
  value: {{ join "," .Values.images.pullSecrets | quote }}
- name: PRORL_CLUSTER_DOMAIN
  value: {{ .Values.clusterDomain }}
- name: PRORL_MONITORING_NAMESPACE
  value: {{ .Values.monitoring.namespace | quote }}
- name: PRORL_PROMETHEUS
  value: {{ include "prorl-operator.prometheus" . | quote }}
- name: PRORL_DNS
  value: {{ .Values.dns | toJson | quote }}
- name: PYTHONUNBUFFERED
  value: "1"
{{- end -}}
