{{/* Pods of `helm test`: scripts of files/tests, run by Gantry's own image. */}}

{{/*
Annotations of what belongs to them. What has succeeded is removed, so that uninstalling leaves nothing; what has failed stays with its log until the
next `helm test`. (dict "weight" 1)
*/}}
{{- define "gantry.tests.annotations" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "gantry.tests.name" -}}
{{ include "gantry.componentName" (dict "root" . "component" "test") }}
{{- end }}

{{/*
The tests in effect, in their order, under the key `tests`: `name` is the script; `settings` says whether it is given the application's settings and
secrets; `env` are its own variables.
*/}}
{{- define "gantry.tests" -}}
{{- $api := include "gantry.componentName" (dict "root" . "component" "api") -}}
tests:
  - name: health
    settings: false
    env:
      TEST_ADMIN_HOST: {{ $api }}-admin
      TEST_API_HOST: {{ $api }}
      TEST_API_PORT: {{ int .Values.service.port | quote }}
  - name: users
    settings: true
    env:
      TEST_API_HOST: {{ $api }}
      TEST_API_PORT: {{ int .Values.service.port | quote }}
  - name: refusals
    settings: true
    env:
      TEST_API_HOST: {{ $api }}
      TEST_API_PORT: {{ int .Values.service.port | quote }}
  - name: database
    settings: true
    env:
      TEST_POOLED: {{ .Values.pgbouncer.enabled | quote }}
      # More clients than all pods of pgbouncer together have server connections: the budget counts those twice, for a rollout.
      TEST_CLIENTS: {{ .Values.pgbouncer.enabled | ternary (add 8 (div (include "gantry.budget" . | fromYaml).queries 2)) 10 | quote }}
  {{- if and .Values.cache.enabled .Values.cache.exporter.enabled }}
  - name: cache
    settings: false
    env:
      TEST_ADMIN_HOST: {{ $api }}-admin
      TEST_CACHE_MAXMEMORY: {{ include "gantry.valkey.maxmemory" (dict "limit" .Values.cache.resources.limits.memory "percent" .Values.cache.maxmemoryPercent "name" "cache.resources.limits.memory") | quote }}
  {{- end }}
  {{- if eq .Values.limits.mode "valkey" }}
  - name: limits
    settings: true
    env:
      TEST_LIMITS_HOST: {{ include "gantry.componentName" (dict "root" . "component" "limits") }}
  {{- end }}
{{- end }}
