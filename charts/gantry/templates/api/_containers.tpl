{{/* The containers of an API pod, each as an entry of its list. */}}

{{/* The API. */}}
{{- define "gantry.api.container" -}}
{{- $settings := .Values.api }}
{{- $shutdown := include "gantry.shutdown" . | fromYaml }}
{{- $signals := printf "%s\n%s" (include "gantry.podIdentity" .) (include "gantry.tracingEnvironment" .) -}}
- name: api
  image: {{ include "gantry.image" (dict "image" .Values.image "tag" .Chart.AppVersion) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- with $settings.command }}
  command:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $settings.args }}
  args:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "gantry.environment" (dict "root" $ "own" $signals "extraEnv" $settings.extraEnv "extraEnvFrom" $settings.extraEnvFrom) | nindent 2 }}
  ports:
    - name: http
      containerPort: 8000
    - name: admin
      containerPort: 9000
  {{- if gt (int $shutdown.drain) 0 }}
  # Before SIGTERM, which closes the public port: no longer ready, clients asked to connect elsewhere, everybody still served.
  lifecycle:
    preStop:
      exec:
        command:
          - /bin/sh
          - -c
          - kill -USR1 1; sleep {{ int $shutdown.drain }}
  {{- end }}
  # Up, not ready: a pod that waits for its schema is left alone. Each second, so that a pod that is ready serves.
  startupProbe:
    httpGet:
      path: /livez
      port: admin
    periodSeconds: 1
    timeoutSeconds: 3
    failureThreshold: 60
  {{- if $settings.livenessProbe.enabled }}
  # No dependency is behind it: losing PostgreSQL restarts nobody.
  livenessProbe:
    httpGet:
      path: /livez
      port: admin
    periodSeconds: 10
    timeoutSeconds: 3
    failureThreshold: 3
  {{- end }}
  readinessProbe:
    httpGet:
      path: /readyz
      port: admin
    periodSeconds: 2
    timeoutSeconds: 2
    failureThreshold: 2
  securityContext:
    {{- mergeOverwrite (include "gantry.containerSecurity" . | fromYaml) (dict "readOnlyRootFilesystem" $settings.readOnlyRootFilesystem) | toYaml | nindent 4 }}
  resources:
    {{- toYaml $settings.resources | nindent 4 }}
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    {{- if .Values.cache.enabled }}
    # A socket takes connections on a read-only mount too.
    - name: cache-socket
      mountPath: /run/cache
      readOnly: true
    {{- end }}
    {{- with include "gantry.databaseCaMount" . }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $settings.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/*
The pod's cache, as a native sidecar: there before the API, and until it has ended. A pod is unready while a sidecar of it is not running, so a
server that dies is started again within its container, and no probe asks whether it is ready: the API does without it.
*/}}
{{- define "gantry.api.cache" -}}
{{- $settings := .Values.cache -}}
- name: cache
  restartPolicy: Always
  image: {{ include "gantry.image" (dict "image" $settings.image) }}
  imagePullPolicy: {{ $settings.image.pullPolicy }}
  # When the shell ends, being the container's first process, the server ends with it; it has nothing to save. Both commands
  # run behind a `wait`, which a signal interrupts.
  command:
    - /bin/sh
    - -c
    - |
      trap 'exit 0' TERM INT
      while :; do
        valkey-server "$@" &
        wait $!
        echo "valkey-server ended with status $?; starting it again" >&2
        sleep 1 &
        wait $!
      done
    - cache
  args:
    {{- include "gantry.valkey.args" (dict "limit" $settings.resources.limits.memory "percent" $settings.maxmemoryPercent "name" "cache.resources.limits.memory") | nindent 4 }}
    - --port
    - "0"
    - --unixsocket
    - /run/cache/valkey.sock
    - --unixsocketperm
    - "700"
  # Until it answers the API is not started, so that no pod begins with a cache that is not there.
  startupProbe:
    exec:
      command: [valkey-cli, -e, -s, /run/cache/valkey.sock, ping]
    periodSeconds: 1
    timeoutSeconds: 2
    failureThreshold: 30
  # Loose: only for a server that hangs for good.
  livenessProbe:
    exec:
      command: [valkey-cli, -e, -s, /run/cache/valkey.sock, ping]
    periodSeconds: 20
    timeoutSeconds: 5
    failureThreshold: 6
  securityContext:
    {{- include "gantry.containerSecurity" . | nindent 4 }}
  resources:
    {{- toYaml $settings.resources | nindent 4 }}
  volumeMounts:
    - name: cache-socket
      mountPath: /run/cache
{{- end }}

{{/* What measures it. It needs no probe: a cache that is lost is a number of its own (redis_up), and an exporter that is lost a missing target. */}}
{{- define "gantry.api.cacheMetrics" -}}
{{- $settings := .Values.cache.exporter -}}
- name: cache-metrics
  restartPolicy: Always
  image: {{ include "gantry.image" (dict "image" $settings.image) }}
  imagePullPolicy: {{ $settings.image.pullPolicy }}
  env:
    - name: REDIS_ADDR
      value: unix:///run/cache/valkey.sock
  ports:
    - name: cache-metrics
      containerPort: 9121
  securityContext:
    {{- include "gantry.containerSecurity" . | nindent 4 }}
  resources:
    {{- toYaml $settings.resources | nindent 4 }}
  volumeMounts:
    - name: cache-socket
      mountPath: /run/cache
      readOnly: true
{{- end }}
