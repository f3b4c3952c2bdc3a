{{/*
Every Prometheus as the operator is told of it, as JSON. Where its credentials are mounted stands in `folder`; what they
are does not.
*/}}
{{- define "prorl-operator.prometheus" -}}
{{- $monitoring := .Values.monitoring -}}
{{- $endpoints := list -}}
{{- $names := list -}}
{{- range $index, $one := $monitoring.prometheus -}}
{{- if has $one.name $names -}}
{{- fail (printf "monitoring.prometheus names %s twice" $one.name) -}}
{{- end -}}
{{- $names = append $names $one.name -}}
{{- if and $one.bearerToken $one.basicAuth -}}
{{- fail (printf "monitoring.prometheus: %s has both bearerToken and basicAuth; an answer needs one of them" $one.name) -}}
{{- end -}}
{{- $headers := list -}}
{{- range $position, $header := $one.headers | default list -}}
{{- if $header.secret -}}
{{- $headers = append $headers (dict "name" $header.name "file" (printf "header-%d" $position)) -}}
{{- else -}}
{{- $headers = append $headers (dict "name" $header.name "value" $header.value) -}}
{{- end -}}
{{- end -}}
{{- $item := dict "name" $one.name "url" $one.url "interval" ($one.interval | default $monitoring.podMonitor.interval) "namespaces" ($one.namespaces | default list) "headers" $headers -}}
{{- if include "prorl-operator.prometheusSources" $one -}}
{{- $_ := set $item "folder" (printf "/etc/prorl-prometheus/%s" $one.name) -}}
{{- end -}}
{{- $endpoints = append $endpoints $item -}}
{{- end -}}
{{- dict "interval" $monitoring.podMonitor.interval "allowedUrls" $monitoring.allowedPrometheusUrls "endpoints" $endpoints | toJson -}}
{{- end -}}

{{/* The sources of one Prometheus' projected volume; empty: it has no credentials. */}}
{{- define "prorl-operator.prometheusSources" -}}
{{- with .bearerToken }}
- secret: {name: {{ .secret }}, items: [{key: {{ .key }}, path: token}]}
{{- end }}
{{- with .basicAuth }}
- secret: {name: {{ .secret }}, items: [{key: {{ .usernameKey }}, path: username}, {key: {{ .passwordKey }}, path: password}]}
{{- end }}
{{- range $position, $header := .headers | default list }}
{{- if $header.secret }}
- secret: {name: {{ $header.secret }}, items: [{key: {{ $header.key }}, path: header-{{ $position }}}]}
{{- end }}
{{- end }}
{{- with .ca }}
{{- if .secret }}
- secret: {name: {{ .secret }}, items: [{key: {{ .key }}, path: ca.crt}]}
{{- else }}
- configMap: {name: {{ .configMap }}, items: [{key: {{ .key }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- end -}}
