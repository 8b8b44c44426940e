{{/*
Values that contradict each other, or can't work: each as a sentence that names the value to change. All of them at once, so that nobody has to
find them one by one. What the schema can say (types, names, bounds) stands there; budgets of time and connections stand with their helpers.
*/}}
{{- define "gantry.validation" -}}
{{- $wrong := concat
  (include "gantry.validation.required" . | fromYamlArray)
  (include "gantry.validation.config" . | fromYamlArray)
  (include "gantry.validation.database" . | fromYamlArray)
  (include "gantry.validation.limits" . | fromYamlArray)
  (include "gantry.validation.routes" . | fromYamlArray)
  (include "gantry.validation.scaling" . | fromYamlArray)
  (include "gantry.validation.metrics" . | fromYamlArray)
  (include "gantry.validation.tracing" . | fromYamlArray)
}}
{{- if $wrong }}
{{- fail (printf "\n- %s\n" (join "\n- " $wrong)) }}
{{- end }}
{{- end }}

{{/* What has no default. */}}
{{- define "gantry.validation.required" -}}
{{- $wrong := list }}
{{- if not .Values.database.host }}
{{- $wrong = append $wrong "database.host is required: the address of PostgreSQL itself, such as postgres.example.internal" }}
{{- end }}
{{- if not .Values.database.existingSecret }}
{{- $wrong = append $wrong "database.existingSecret is required: the name of a Secret with the database user's name and password" }}
{{- end }}
{{- if not .Values.security.existingSecret }}
{{- $wrong = append $wrong "security.existingSecret is required: the name of a Secret with the keys key-peppers and cursor-keys" }}
{{- end }}
{{- toYaml $wrong }}
{{- end }}

{{/* Settings that follow from other values. */}}
{{- define "gantry.validation.config" -}}
{{- $wrong := list }}
{{- $origins := dict
  "database.url" "database.host, or pgbouncer"
  "database.direct_url" "database.host, database.port, database.name and database.tls"
  "database.pool_size" "api.poolSize"
  "database.pool_recycle" "api.poolRecycleSeconds"
  "limits.url" "limits.mode"
  "limits.password" "limits.valkey.existingSecret"
  "security.key_peppers" "security.existingSecret"
  "security.cursor_keys" "security.existingSecret"
  "security.bootstrap_key" "security.existingSecret"
  "log.level" "logging.level"
  "log.requests" "logging.requests"
  "tracing.endpoint" "tracing.endpoint"
  "tracing.headers" "tracing.headersSecret"
  "tracing.sample_ratio" "tracing.sampleRatio"
  "server.host" "the pod's own ports"
  "server.port" "the pod's own ports"
  "server.admin_host" "the pod's own ports"
  "server.admin_port" "the pod's own ports"
  "server.workers" "api.workers"
  "server.graceful_timeout" "api.terminationGracePeriodSeconds"
  "server.close_timeout" "api.terminationGracePeriodSeconds"
  "server.runtime_dir" "the pod's own volumes"
}}
{{- range $group, $names := .Values.config }}
{{- if kindIs "map" $names }}
{{- range $name, $_ := $names }}
{{- with get $origins (printf "%s.%s" $group $name) }}
{{- $wrong = append $wrong (printf "config.%s.%s can't be set: it follows from %s; take it out" $group $name .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $wrong }}
{{- end }}

{{- define "gantry.validation.database" -}}
{{- $wrong := list }}
{{- $tls := .Values.database.tls }}
{{- if and (hasPrefix "verify-" $tls.mode) (not $tls.caSecret) }}
{{- $wrong = append $wrong (printf "database.tls.caSecret is required by database.tls.mode %s: the name of a Secret with the certificate of PostgreSQL's authority" $tls.mode) }}
{{- end }}
{{- if and .Values.database.previousSecret (eq .Values.database.previousSecret .Values.database.existingSecret) }}
{{- $wrong = append $wrong "database.previousSecret is the same as database.existingSecret: name the Secret of the former user, or leave it empty" }}
{{- end }}
{{- if and .Values.database.previousSecret (not .Values.pgbouncer.enabled) }}
{{- $wrong = append $wrong "database.previousSecret is for pgbouncer, which pgbouncer.enabled switches off: leave it empty" }}
{{- end }}
{{- toYaml $wrong }}
{{- end }}

{{- define "gantry.validation.limits" -}}
{{- $wrong := list }}
{{- $limits := .Values.limits }}
{{- if and (eq $limits.mode "external") (not $limits.externalSecret) }}
{{- $wrong = append $wrong "limits.externalSecret is required by limits.mode external: the name of a Secret with the key url" }}
{{- end }}
{{- if and $limits.externalSecret (ne $limits.mode "external") }}
{{- $wrong = append $wrong (printf "limits.externalSecret is set but limits.mode is %s, which does not read it: set limits.mode to external, or take it out" $limits.mode) }}
{{- end }}
{{- if and $limits.valkey.existingSecret (ne $limits.mode "valkey") }}
{{- $wrong = append $wrong (printf "limits.valkey.existingSecret is set but limits.mode is %s, which does not read it: set limits.mode to valkey, or take it out" $limits.mode) }}
{{- end }}
{{- toYaml $wrong }}
{{- end }}

{{/* Ways in, and the policies that let them. */}}
{{- define "gantry.validation.routes" -}}
{{- $wrong := list }}
{{- $ingress := .Values.ingress.enabled }}
{{- $route := .Values.httpRoute.enabled }}
{{- if and $ingress $route }}
{{- $wrong = append $wrong "ingress.enabled and httpRoute.enabled are both true: choose one way in" }}
{{- end }}
{{- if and (or $ingress $route) .Values.networkPolicy.enabled (not .Values.networkPolicy.ingressControllers) }}
{{- $wrong = append $wrong (printf "networkPolicy.ingressControllers is required by %s.enabled while networkPolicy.enabled is true: name who may reach the API, or nobody can" (ternary "ingress" "httpRoute" $ingress)) }}
{{- end }}
{{- if and $route (not .Values.httpRoute.parentRefs) }}
{{- $wrong = append $wrong "httpRoute.parentRefs is required by httpRoute.enabled: the Gateways that the route belongs to" }}
{{- end }}
{{- toYaml $wrong }}
{{- end }}

{{- define "gantry.validation.scaling" -}}
{{- $wrong := list }}
{{- $scaling := .Values.autoscaling }}
{{- if and $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}
{{- $wrong = append $wrong (printf "autoscaling.minReplicas is %d, more than autoscaling.maxReplicas (%d): lower it, or raise the other" (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}
{{- end }}
{{- if and $scaling.enabled (not (dig "requests" "cpu" "" .Values.api.resources)) }}
{{- $wrong = append $wrong "api.resources.requests.cpu is required by autoscaling.enabled: the autoscaler counts in parts of it" }}
{{- end }}
{{- if and .Values.podDisruptionBudget.enabled (has (toString .Values.podDisruptionBudget.maxUnavailable) (list "0" "0%")) }}
{{- $wrong = append $wrong "podDisruptionBudget.maxUnavailable is 0, so no node could be drained: set it to 1 or more" }}
{{- end }}
{{- if has (toString .Values.api.maxSurge) (list "0" "0%") }}
{{- $wrong = append $wrong "api.maxSurge is 0, so no pod could be replaced, since none may be missing: set it to 1 or more" }}
{{- end }}
{{- toYaml $wrong }}
{{- end }}

{{- define "gantry.validation.metrics" -}}
{{- $wrong := list }}
{{- $ways := list }}
{{- range list "podMonitor" "serviceMonitor" "annotations" }}
{{- if (get $.Values.metrics .).enabled }}
{{- $ways = append $ways . }}
{{- end }}
{{- end }}
{{- if gt (len $ways) 1 }}
{{- $wrong = append $wrong (printf "metrics.%s.enabled and metrics.%s.enabled are both true: everything would be counted twice; choose one" (first $ways) (index $ways 1)) }}
{{- end }}
{{- if and $ways .Values.networkPolicy.enabled (not .Values.networkPolicy.prometheus) }}
{{- $wrong = append $wrong (printf "networkPolicy.prometheus is required by metrics.%s.enabled while networkPolicy.enabled is true: name who may reach the metrics, or nobody can" (first $ways)) }}
{{- end }}
{{- toYaml $wrong }}
{{- end }}

{{- define "gantry.validation.tracing" -}}
{{- $wrong := list }}
{{- $tracing := .Values.tracing }}
{{- $policy := .Values.networkPolicy }}
{{- if and $tracing.endpoint $policy.enabled (not $policy.otlp) }}
{{- $wrong = append $wrong "networkPolicy.otlp is required by tracing.endpoint while networkPolicy.enabled is true: name where traces go, or none arrive" }}
{{- end }}
{{- if and $policy.otlp (not $tracing.endpoint) }}
{{- $wrong = append $wrong "networkPolicy.otlp is set but tracing.endpoint is empty, so nothing goes there: set the endpoint, or take it out" }}
{{- end }}
{{- if and $tracing.headersSecret (not $tracing.endpoint) }}
{{- $wrong = append $wrong "tracing.headersSecret is set but tracing.endpoint is empty, so nobody is sent those headers: set the endpoint, or take it out" }}
{{- end }}
{{- toYaml $wrong }}
{{- end }}
