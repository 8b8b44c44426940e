{{/* What Prometheus and Grafana are told, and what logs and traces say of their pod. */}}

{{/*
What there is to scrape: a list of (component, port, number, job) under the key `targets`. The job is named after what is measured, not after
the way it was found, so that rules and dashboards know one name. Monitors, network policies, annotations and k8s/observability go by this list.
*/}}
{{- define "gantry.scrapeTargets" -}}
targets:
  - {component: api, port: admin, number: 9000, job: api}
  {{- if and .Values.cache.enabled .Values.cache.exporter.enabled }}
  - {component: api, port: cache-metrics, number: 9121, job: cache}
  {{- end }}
  {{- if and .Values.pgbouncer.enabled .Values.pgbouncer.exporter.enabled }}
  - {component: pgbouncer, port: metrics, number: 9127, job: pgbouncer}
  {{- end }}
  {{- if and (eq .Values.limits.mode "valkey") .Values.limits.valkey.exporter.enabled }}
  - {component: limits, port: limits-metrics, number: 9121, job: limits}
  {{- end }}
{{- end }}

{{/* Numbers of the ports of a component that are scraped, as YAML under the key `ports`: (dict "root" $ "component" "api"). */}}
{{- define "gantry.scrapePorts" -}}
{{- $ports := list }}
{{- range (include "gantry.scrapeTargets" .root | fromYaml).targets }}
{{- if eq .component $.component }}
{{- $ports = append $ports .number }}
{{- end }}
{{- end }}
{{- dict "ports" $ports | toYaml }}
{{- end }}

{{/*
Annotations by which a Prometheus without the operator finds a pod of a component; nothing unless the values ask for them, or where there is nothing
to scrape. There is one port in them, so it is the component's first: of an API pod the admin port, not its cache's exporter.
*/}}
{{- define "gantry.scrapeAnnotations" -}}
{{- $ports := (include "gantry.scrapePorts" . | fromYaml).ports }}
{{- if and .root.Values.metrics.annotations.enabled $ports -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ first $ports | int | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end }}

{{/* `metadata` of an object that something finds by labels of its own: (dict "root" $ "component" "api" "name" "..." "labels" .Values... "annotations" .Values...). */}}
{{- define "gantry.discoveredMetadata" -}}
name: {{ .name | default (include "gantry.componentName" .) }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- merge (include "gantry.labels" . | fromYaml) (.labels | default dict) | toYaml | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The endpoints of a monitor, for one component: (dict "root" $ "component" "api" "interval" "15s"). */}}
{{- define "gantry.scrapeEndpoints" -}}
{{- range (include "gantry.scrapeTargets" .root | fromYaml).targets }}
{{- if eq .component $.component }}
- port: {{ .port }}
  path: /metrics
  interval: {{ $.interval }}
  relabelings:
    - targetLabel: job
      replacement: {{ include "gantry.fullname" $.root }}-{{ .job }}
{{- end }}
{{- end }}
{{- end }}

{{/* The components that have something to scrape, as YAML under the key `components`. */}}
{{- define "gantry.scrapedComponents" -}}
{{- $components := list }}
{{- range (include "gantry.scrapeTargets" . | fromYaml).targets }}
{{- $components = append $components .component }}
{{- end }}
{{- dict "components" (uniq $components) | toYaml }}
{{- end }}

{{/* The port at which the receiver of traces is asked: that of the endpoint, or of its scheme. */}}
{{- define "gantry.tracing.port" -}}
{{- $url := urlParse .Values.tracing.endpoint }}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (eq $url.scheme "https" | ternary "443" "80") }}
{{- end }}

{{/*
Which pod of which node this is, as variables: for the field `pod` of log lines and the resource attributes of spans. Nothing of it changes
between two releases.
*/}}
{{- define "gantry.podIdentity" -}}
{{- range $variable, $path := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "NODE_NAME" "spec.nodeName" }}
- name: {{ $variable }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $path }}
{{- end }}
{{- end }}

{{/* Variables for traces that are no setting or are secret. Values of attributes are percent-encoded, as OpenTelemetry's specification wants them. */}}
{{- define "gantry.tracingEnvironment" -}}
{{- with .Values.tracing.headersSecret }}
- name: GANTRY_TRACING__HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: headers
{{- end }}
{{- $attributes := list }}
{{- range $name, $value := .Values.tracing.resourceAttributes }}
{{- $attributes = append $attributes (printf "%s=%s" $name ($value | urlquery | replace "+" "%20")) }}
{{- end }}
{{- with $attributes }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}
