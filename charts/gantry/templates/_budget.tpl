{{/*
The connection budget: who may hold how many connections at once, at the worst moment of a rollout, when the old pods still finish and
the new ones serve already; so pods count twice. A dict as YAML, for NOTES and everybody else who needs these numbers; it ends the render with a
sentence when they don't fit. Numbers come back from fromYaml as floats: `int` them.
*/}}
{{- define "gantry.budget" -}}
{{- $replicas := int (ternary .Values.autoscaling.maxReplicas .Values.api.replicas .Values.autoscaling.enabled) }}
{{- $replicasName := ternary "autoscaling.maxReplicas" "api.replicas" .Values.autoscaling.enabled }}
{{- /* A surge in percent is at most as many again; one in pods may be more. */}}
{{- $apiPods := add $replicas (max $replicas (kindIs "string" .Values.api.maxSurge | ternary 0 (int .Values.api.maxSurge))) }}
{{- $clients := mul $apiPods .Values.api.workers .Values.api.poolSize }}
{{- $poolers := int .Values.pgbouncer.replicas }}
{{- /* While a user replaces another, each has a pool of its own: sharing one, the busy old one would leave the new one nothing. */}}
{{- $users := empty .Values.database.previousSecret | ternary 1 2 }}
{{- $perPooler := mul (add .Values.pgbouncer.poolSize .Values.pgbouncer.reservePoolSize) $users }}
{{- $queries := ternary (mul 2 $poolers $perPooler) $clients .Values.pgbouncer.enabled }}
{{- $listeners := $apiPods }}
{{- $migrations := ternary 1 0 .Values.migrations.enabled }}
{{- $others := int .Values.database.otherConnections }}
{{- $reserved := int .Values.database.reservedConnections }}
{{- $needed := add $queries $listeners $migrations $others $reserved }}
{{- $max := int .Values.database.maxConnections }}
{{- if gt $needed $max }}
{{- $ways := printf "%s, api.workers or api.poolSize" $replicasName }}
{{- $what := printf "%d of %d API pods with %d workers of %d" $clients $apiPods (int .Values.api.workers) (int .Values.api.poolSize) }}
{{- if .Values.pgbouncer.enabled }}
{{- $ways = printf "pgbouncer.replicas, pgbouncer.poolSize or %s" $replicasName }}
{{- $what = printf "%d of %d pgbouncer pods with %d each%s" $queries (mul 2 $poolers) $perPooler (eq $users 2 | ternary " (for two users, as long as database.previousSecret is set)" "") }}
{{- end }}
{{- fail (printf "PostgreSQL may be asked for %d connections during a rollout but database.maxConnections is %d: %s, %d listeners, %d for migrations, %d of others, %d reserved; lower %s, or raise max_connections there and database.maxConnections here" $needed $max $what $listeners $migrations $others $reserved $ways) }}
{{- end }}
{{- /* One pgbouncer pod may be away: the others have to take its clients. */}}
{{- $accepting := max 1 (sub $poolers 1) }}
{{- $accepted := mul $accepting .Values.pgbouncer.maxClientConnections }}
{{- if and .Values.pgbouncer.enabled (gt $clients $accepted) }}
{{- fail (printf "the API may open %d connections to pgbouncer during a rollout (%d pods with %d workers of %d) but, with one pod of pgbouncer away, %d are accepted: raise pgbouncer.maxClientConnections or pgbouncer.replicas, or lower %s, api.workers or api.poolSize" $clients $apiPods (int .Values.api.workers) (int .Values.api.poolSize) $accepted $replicasName) }}
{{- end }}
{{- dict
  "apiPods" $apiPods
  "clients" $clients
  "users" $users
  "accepted" (ternary $accepted 0 .Values.pgbouncer.enabled)
  "poolers" (ternary (mul 2 $poolers) 0 .Values.pgbouncer.enabled)
  "perPooler" (ternary $perPooler 0 .Values.pgbouncer.enabled)
  "queries" $queries
  "listeners" $listeners
  "migrations" $migrations
  "others" $others
  "reserved" $reserved
  "needed" $needed
  "max" $max
  "free" (sub $max $needed)
  | toYaml }}
{{- end }}
