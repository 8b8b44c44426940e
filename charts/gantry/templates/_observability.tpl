{{/* What Prometheus and Grafana are told. */}}

{{/*
What there is to scrape: a list of (component, port, job) under the key `targets`. The job is named after what is measured, not after the way
it was found, so that rules and dashboards know one name.
*/}}
{{- define "gantry.scrapeTargets" -}}
targets:
  - {component: api, port: admin, job: api}
  {{- if and .Values.cache.enabled .Values.cache.exporter.enabled }}
  - {component: api, port: cache-metrics, job: cache}
  {{- end }}
  {{- if and .Values.pgbouncer.enabled .Values.pgbouncer.exporter.enabled }}
  - {component: pgbouncer, port: metrics, job: pgbouncer}
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
