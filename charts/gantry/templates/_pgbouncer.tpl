{{/* pgbouncer's configuration, and the times of its stop. */}}

{{/*
Seconds a stopping pod goes on serving: until each API process, which replaces its connections at that age, has moved to another pod; 5 more for
the Service to have forgotten this one. SIGTERM, whatever it means in this version (1.22: stop now; since 1.23: wait for clients), then finds idle clients alone.
*/}}
{{- define "gantry.pgbouncer.drainSeconds" -}}
{{- add 5 .Values.api.poolRecycleSeconds }}
{{- end }}

{{/* The longest request after that, and 5 to spare. */}}
{{- define "gantry.pgbouncer.terminationGracePeriodSeconds" -}}
{{- add (include "gantry.pgbouncer.drainSeconds" .) (include "gantry.deadline" .) 5 }}
{{- end }}

{{/* pgbouncer.ini. Nothing here is newer than 1.22. */}}
{{- define "gantry.pgbouncer.ini" -}}
{{- $pgbouncer := .Values.pgbouncer }}
{{- $database := .Values.database }}
{{- if not (regexMatch "^[A-Za-z0-9_.-]+$" $database.name) }}
{{- fail (printf "database.name is %q, which pgbouncer's configuration has no way to write: only letters, digits, _, - and . may be in it" $database.name) }}
{{- end }}
{{- $wait := $pgbouncer.queryWaitTimeoutSeconds }}
{{- $deadline := include "gantry.deadline" . | int }}
{{- if ge (int $wait) $deadline }}
{{- fail (printf "pgbouncer.queryWaitTimeoutSeconds is %d, which must be below the deadline of a request (config.http.deadline, %d): a query that waits longer than its request is run for nobody; lower it" (int $wait) $deadline) }}
{{- end }}
{{- /* The sizes are those of one user's pool; max_db_connections is what the budget counts, and holds whoever logs in. */}}
{{- $computed := dict
  "listen_addr" "*"
  "listen_port" (int $pgbouncer.port)
  "unix_socket_dir" "/run/pgbouncer-socket"
  "unix_socket_mode" "0700"
  "auth_type" "scram-sha-256"
  "auth_file" "/run/pgbouncer/users.txt"
  "pool_mode" "transaction"
  "max_prepared_statements" (int $pgbouncer.maxPreparedStatements)
  "max_client_conn" (int $pgbouncer.maxClientConnections)
  "default_pool_size" (int $pgbouncer.poolSize)
  "reserve_pool_size" (int $pgbouncer.reservePoolSize)
  "reserve_pool_timeout" 1
  "max_db_connections" (include "gantry.budget" . | fromYaml | dig "perPooler" 0 | int)
  "query_wait_timeout" (int $wait)
  "server_tls_sslmode" $database.tls.mode
}}
{{- if $database.tls.caSecret }}
{{- $_ := set $computed "server_tls_ca_file" (printf "/run/secrets/database-ca/%s" $database.tls.caKey) }}
{{- end }}
{{- if $pgbouncer.tls.existingSecret }}
{{- $_ := set $computed "client_tls_sslmode" "require" }}
{{- $_ := set $computed "client_tls_cert_file" "/run/secrets/pgbouncer-tls/tls.crt" }}
{{- $_ := set $computed "client_tls_key_file" "/run/secrets/pgbouncer-tls/tls.key" }}
{{- end }}
{{- $preferred := dict
  "server_connect_timeout" 3
  "server_login_retry" 1
  "server_lifetime" 1800
  "server_idle_timeout" 300
  "client_login_timeout" 10
  "ignore_startup_parameters" "extra_float_digits"
  "tcp_keepalive" 1
  "tcp_keepidle" 30
  "tcp_keepintvl" 10
  "tcp_keepcnt" 3
  "tcp_user_timeout" 30000
  "log_connections" 0
  "log_disconnections" 0
  "log_stats" 0
}}
{{- range $name, $value := $pgbouncer.extraConfig }}
{{- if not (regexMatch "^[a-z0-9_]+$" $name) }}
{{- fail (printf "pgbouncer.extraConfig has %q, which is no name of a parameter: write them as pgbouncer's manual does, such as server_lifetime" $name) }}
{{- end }}
{{- if hasKey $computed $name }}
{{- fail (printf "pgbouncer.extraConfig.%s can't be set: the chart computes it (%s = %v) from other values of pgbouncer and database; change those" $name $name (get $computed $name)) }}
{{- end }}
{{- if regexMatch "[\r\n]" (toString $value) }}
{{- fail (printf "pgbouncer.extraConfig.%s has more than one line: give each parameter a key of its own" $name) }}
{{- end }}
{{- end -}}
; Made by the chart: pgbouncer.* and database.* of its values.
[databases]
{{- /* No user here: each client's own, with its own password. No other database can be asked for. */}}
{{ $database.name }} = host='{{ $database.host | replace "'" "''" }}' port={{ int $database.port }} dbname='{{ $database.name }}'

[pgbouncer]
; Computed.
{{- range $name, $value := $computed }}
{{ $name }} = {{ $value }}
{{- end }}

; server_login_retry: an unreachable PostgreSQL is tried again every second, and clients hear of it meanwhile.
; tcp_*: a peer that vanished is noticed after about a minute of silence, or 30 s with data on the way.
; log_*: API processes replace their connections all the time, and probes connect without a word; what counts is in the metrics.
{{- range $name, $value := $preferred }}
{{- if not (hasKey $pgbouncer.extraConfig $name) }}
{{ $name }} = {{ $value }}
{{- end }}
{{- end }}
{{- with $pgbouncer.extraConfig }}

; pgbouncer.extraConfig
{{- range $name, $value := . }}
{{ $name }} = {{ kindIs "float64" $value | ternary (int64 $value) $value }}
{{- end }}
{{- end }}
{{- end }}
