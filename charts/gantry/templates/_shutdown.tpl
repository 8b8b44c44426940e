{{/*
How an API pod stops, from the one value `api.terminationGracePeriodSeconds`. A dict as YAML, in seconds, in the order in which it happens:
  drain     the preStop hook: still serving, no longer ready, `Connection: close` on answers, until nobody sends new requests here
  graceful  after SIGTERM: requests in flight end (gunicorn's own time-out is this and `close`)
  close     pools and telemetry
  margin    to spare before SIGKILL
  grace     all of them
The sidecars are stopped after that, by the kubelet, and need none of it. Numbers come back from fromYaml as floats: `int` them.
*/}}
{{- define "gantry.shutdown" -}}
{{- $grace := int .Values.api.terminationGracePeriodSeconds }}
{{- $drain := int .Values.api.drainSeconds }}
{{- $close := 5 }}
{{- $margin := 5 }}
{{- $graceful := sub $grace (add $drain $close $margin) | int }}
{{- $deadline := include "gantry.deadline" . | int }}
{{- if le $graceful $deadline }}
{{- fail (printf "api.terminationGracePeriodSeconds is %d, which leaves %d seconds for requests in flight (%d of api.drainSeconds, %d for closing pools and %d to spare are taken off) but one may take %d (config.http.deadline): raise it to at least %d, or lower one of the others" $grace $graceful $drain $close $margin $deadline (add $drain $close $margin $deadline 1 | int)) }}
{{- end }}
{{- dict "drain" $drain "graceful" $graceful "close" $close "margin" $margin "grace" $grace "deadline" $deadline | toYaml }}
{{- end }}
