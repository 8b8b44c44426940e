{{/* Parts of the network policies. Ports are those of the pods, by number: not every engine resolves names in egress rules. */}}

{{/* One entry of `from` or `to`: the pods of a component; (dict "root" $ "component" "api"). */}}
{{- define "gantry.network.pods" -}}
- podSelector:
    matchLabels:
      {{- include "gantry.selectorLabels" . | nindent 6 }}
{{- end }}

{{/* Entries of `from`: the API's pods and those of `helm test`. */}}
{{- define "gantry.network.apiAndTests" -}}
{{- include "gantry.network.pods" (dict "root" . "component" "api") }}
{{- if .Values.tests.enabled }}
{{ include "gantry.network.pods" (dict "root" . "component" "test") }}
{{- end }}
{{- end }}

{{/* `ports` of TCP: (dict "ports" (list 8000 9000)). */}}
{{- define "gantry.network.ports" -}}
ports:
{{- range .ports }}
  - protocol: TCP
    port: {{ int . }}
{{- end }}
{{- end }}

{{/* One entry of `egress`: given peers, or any address when there are none, at one port; (dict "peers" .Values... "port" 5432). */}}
{{- define "gantry.network.toPeers" -}}
- {{ include "gantry.network.ports" (dict "ports" (list .port)) | nindent 2 | trim }}
{{- with .peers }}
  to:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{/* One entry of `egress`: PostgreSQL itself. */}}
{{- define "gantry.network.toPostgresql" -}}
{{- include "gantry.network.toPeers" (dict "peers" .Values.networkPolicy.postgresql "port" .Values.database.port) }}
{{- end }}

{{/* One entry of `egress`: names. Nothing without networkPolicy.dns. */}}
{{- define "gantry.network.toDns" -}}
{{- with .Values.networkPolicy.dns -}}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
{{- end }}
{{- end }}

{{/* One entry of `ingress`: Prometheus, at what it scrapes of a component; (dict "root" $ "component" "api"). Nothing without networkPolicy.prometheus. */}}
{{- define "gantry.network.fromPrometheus" -}}
{{- $ports := (include "gantry.scrapePorts" . | fromYaml).ports }}
{{- if and .root.Values.networkPolicy.prometheus $ports -}}
- from:
    {{- toYaml .root.Values.networkPolicy.prometheus | nindent 4 }}
  {{- include "gantry.network.ports" (dict "ports" $ports) | nindent 2 }}
{{- end }}
{{- end }}

{{/* One entry of `egress`: where traces go. Nothing without an endpoint. */}}
{{- define "gantry.network.toCollector" -}}
{{- if .Values.tracing.endpoint -}}
{{- $port := .Values.networkPolicy.otlpPort | default (include "gantry.tracing.port" .) }}
{{- include "gantry.network.toPeers" (dict "peers" .Values.networkPolicy.otlp "port" $port) }}
{{- end }}
{{- end }}

{{/* All of `ingress` of the API, which may be nothing. */}}
{{- define "gantry.network.apiIngress" -}}
{{- $policy := .Values.networkPolicy }}
{{- $metrics := (include "gantry.scrapePorts" (dict "root" $ "component" "api") | fromYaml).ports }}
{{- with $policy.ingressControllers }}
- from:
    {{- toYaml . | nindent 4 }}
  {{- include "gantry.network.ports" (dict "ports" (list 8000)) | nindent 2 }}
{{- end }}
{{- with include "gantry.network.fromPrometheus" (dict "root" $ "component" "api") }}
{{ . }}
{{- end }}
{{- if .Values.tests.enabled }}
- from:
    {{- include "gantry.network.pods" (dict "root" $ "component" "test") | nindent 4 }}
  {{- include "gantry.network.ports" (dict "ports" (prepend $metrics 8000)) | nindent 2 }}
{{- end }}
{{- with $policy.extraIngress }}
{{ toYaml . }}
{{- end }}
{{- end }}
