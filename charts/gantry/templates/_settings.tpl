{{/* The application's settings and how its containers get them. */}}

{{/* One setting of `config`, or the application's default: (dict "root" $ "group" "http" "name" "deadline" "default" 20). */}}
{{- define "gantry.setting" -}}
{{- $value := index (index (.root.Values.config | default dict) .group | default dict) .name }}
{{- kindIs "invalid" $value | ternary .default $value }}
{{- end }}

{{/* Seconds a request may take at most, rounded up. */}}
{{- define "gantry.deadline" -}}
{{- include "gantry.setting" (dict "root" . "group" "http" "name" "deadline" "default" 20) | float64 | ceil | int }}
{{- end }}

{{/* Seconds an export may run at most, rounded up. */}}
{{- define "gantry.exportSeconds" -}}
{{- include "gantry.setting" (dict "root" . "group" "export" "name" "max_seconds" "default" 600) | float64 | ceil | int }}
{{- end }}

{{/* The database's name as it stands in a URL. */}}
{{- define "gantry.databaseName" -}}
{{- .Values.database.name | urlquery | replace "+" "%20" }}
{{- end }}

{{/* PostgreSQL itself. User and password are not in it: libpq takes them from PGUSER and PGPASSWORD, where any character may stand. */}}
{{- define "gantry.directUrl" -}}
{{- $database := .Values.database }}
{{- $host := contains ":" $database.host | ternary (printf "[%s]" $database.host) $database.host -}}
postgresql://{{ $host }}:{{ int $database.port }}/{{ include "gantry.databaseName" . }}?sslmode={{ $database.tls.mode }}
{{- if $database.tls.caSecret }}&sslrootcert=/run/secrets/database-ca/{{ $database.tls.caKey }}{{ end }}
{{- end }}

{{/* What `config` says, as variables: GANTRY_GROUP__NAME; text as it is, the rest as JSON. What is null is not set. A dict as YAML. */}}
{{- define "gantry.settings.configured" -}}
{{- $settings := dict }}
{{- range $group, $names := .Values.config }}
{{- if kindIs "map" $names }}
{{- range $name, $value := $names }}
{{- if not (kindIs "invalid" $value) }}
{{- $_ := set $settings (printf "GANTRY_%s__%s" $group $name | upper) (kindIs "string" $value | ternary $value ($value | toJson)) }}
{{- end }}
{{- end }}
{{- else if not (kindIs "invalid" $names) }}
{{- $_ := set $settings (printf "GANTRY_%s" $group | upper) (kindIs "string" $names | ternary $names ($names | toJson)) }}
{{- end }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{/* What other values say, or the shape of the pod. A dict as YAML, of variables that `config` can't set. */}}
{{- define "gantry.settings.computed" -}}
{{- $shutdown := include "gantry.shutdown" . | fromYaml }}
{{- $url := include "gantry.directUrl" . }}
{{- if .Values.pgbouncer.enabled }}
{{- $pgbouncer := include "gantry.componentName" (dict "root" . "component" "pgbouncer") }}
{{- $url = printf "postgresql://%s:%d/%s?sslmode=%s" $pgbouncer (int .Values.pgbouncer.port) (include "gantry.databaseName" .) (empty .Values.pgbouncer.tls.existingSecret | ternary "disable" "require") }}
{{- end }}
{{- $settings := dict
  "GANTRY_DATABASE__URL" $url
  "GANTRY_DATABASE__DIRECT_URL" (include "gantry.directUrl" .)
  "GANTRY_DATABASE__POOL_SIZE" (int .Values.api.poolSize | toString)
  "GANTRY_DATABASE__POOL_RECYCLE" (int .Values.api.poolRecycleSeconds | toString)
  "GANTRY_SERVER__HOST" "0.0.0.0"
  "GANTRY_SERVER__PORT" "8000"
  "GANTRY_SERVER__ADMIN_HOST" "0.0.0.0"
  "GANTRY_SERVER__ADMIN_PORT" "9000"
  "GANTRY_SERVER__WORKERS" (int .Values.api.workers | toString)
  "GANTRY_SERVER__GRACEFUL_TIMEOUT" (int $shutdown.graceful | toString)
  "GANTRY_SERVER__CLOSE_TIMEOUT" (int $shutdown.close | toString)
  "GANTRY_SERVER__RUNTIME_DIR" "/tmp"
  "GANTRY_LOG__LEVEL" .Values.logging.level
  "GANTRY_LOG__REQUESTS" (toString .Values.logging.requests)
  "GANTRY_TRACING__SAMPLE_RATIO" (toString .Values.tracing.sampleRatio)
}}
{{- with .Values.tracing.endpoint }}
{{- $_ := set $settings "GANTRY_TRACING__ENDPOINT" . }}
{{- end }}
{{- if eq .Values.limits.mode "valkey" }}
{{- $_ := set $settings "GANTRY_LIMITS__URL" (printf "redis://%s:6379/0" (include "gantry.componentName" (dict "root" . "component" "limits"))) }}
{{- end }}
{{- toYaml $settings }}
{{- end }}

{{/* All settings that are no secret. A dict as YAML. */}}
{{- define "gantry.settings" -}}
{{- merge (include "gantry.settings.computed" . | fromYaml) (include "gantry.settings.configured" . | fromYaml) | toYaml }}
{{- end }}

{{/* For an annotation of pods: they are replaced when a setting changes. (What is in Secrets can't be seen from here: `kubectl rollout restart`.) */}}
{{- define "gantry.settings.checksum" -}}
{{- include "gantry.settings" . | sha256sum }}
{{- end }}

{{- define "gantry.settings.name" -}}
{{ include "gantry.fullname" . }}-settings
{{- end }}

{{/* Variables from `security.existingSecret`. Whatever loads the settings needs them. */}}
{{- define "gantry.securityEnvironment" -}}
{{- range $variable, $key := dict "GANTRY_SECURITY__KEY_PEPPERS" "key-peppers" "GANTRY_SECURITY__CURSOR_KEYS" "cursor-keys" }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.security.existingSecret | quote }}
      key: {{ $key }}
{{- end }}
- name: GANTRY_SECURITY__BOOTSTRAP_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .Values.security.existingSecret | quote }}
      key: bootstrap-key
      optional: true
{{- end }}

{{/* Variables for the store of limits, when it has a secret: a password, or with an external one the whole address. */}}
{{- define "gantry.limitsEnvironment" -}}
{{- if and (eq .Values.limits.mode "valkey") .Values.limits.valkey.existingSecret }}
- name: GANTRY_LIMITS__PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .Values.limits.valkey.existingSecret | quote }}
      key: password
{{- else if eq .Values.limits.mode "external" }}
- name: GANTRY_LIMITS__URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.limits.externalSecret | quote }}
      key: url
{{- end }}
{{- end }}

{{/*
Entries of `env`, ours and those that values add: (dict "env" "- name: ..." "extraEnv" .Values...). One that is added with a name of ours stands in
its place, not beside it: the API server refuses a list with a name twice.
*/}}
{{- define "gantry.mergedEnv" -}}
{{- $extra := dict }}
{{- range .extraEnv }}
{{- $_ := set $extra .name true }}
{{- end }}
{{- $env := list }}
{{- range .env | fromYamlArray }}
{{- if not (hasKey $extra .name) }}
{{- $env = append $env . }}
{{- end }}
{{- end }}
{{- concat $env (.extraEnv | default list) | toYaml }}
{{- end }}

{{/*
`envFrom` and `env` of a container that runs Gantry: (dict "root" $ "own" "- name: ..." "extraEnv" .Values... "extraEnvFrom" .Values...). `own` is
what this container alone has of ours; it and both extras may be left out.
*/}}
{{- define "gantry.environment" -}}
{{- $parts := list (include "gantry.securityEnvironment" .root) }}
{{- $parts = append $parts (include "gantry.databaseCredentials" (dict "root" .root "secret" .root.Values.database.existingSecret)) }}
{{- $parts = append $parts (include "gantry.limitsEnvironment" .root) }}
{{- $parts = append $parts (.own | default "") -}}
envFrom:
  - configMapRef:
      name: {{ include "gantry.settings.name" .root }}
  {{- with .extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
env:
  {{- include "gantry.mergedEnv" (dict "env" ($parts | join "\n") "extraEnv" .extraEnv) | nindent 2 }}
{{- end }}

{{/* The authority's certificate that `gantry.directUrl` names: an entry of `volumeMounts`, and one of `volumes`. Nothing without one. */}}
{{- define "gantry.databaseCaMount" -}}
{{- if .Values.database.tls.caSecret -}}
- name: database-ca
  mountPath: /run/secrets/database-ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "gantry.databaseCaVolume" -}}
{{- with .Values.database.tls.caSecret -}}
- name: database-ca
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}
