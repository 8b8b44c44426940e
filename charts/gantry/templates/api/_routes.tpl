{{/* What stands in front of the API has to agree with it: sizes and times come from the application's own settings. */}}

{{/* Seconds that what is in front waits for an answer: a little longer than the API, so that the API's own 503 is what a client sees. */}}
{{- define "gantry.routes.timeout" -}}
{{- add 5 (include "gantry.deadline" .) }}
{{- end }}

{{/* The same for an export, the one answer that streams for longer. */}}
{{- define "gantry.routes.exportTimeout" -}}
{{- add 5 (include "gantry.exportSeconds" .) }}
{{- end }}

{{/*
Annotations of an Ingress, as `ingress.controller` wants them. ingress-nginx counts its read and send time-outs between two pieces of data, so an
export, which streams, needs no longer one; but it must not be gathered on the way, nor must a body, which the API itself bounds in time.
*/}}
{{- define "gantry.routes.ingressAnnotations" -}}
{{- if eq .Values.ingress.controller "nginx" -}}
nginx.ingress.kubernetes.io/proxy-body-size: {{ include "gantry.setting" (dict "root" . "group" "http" "name" "max_body_bytes" "default" 1048576) | float64 | int64 | quote }}
nginx.ingress.kubernetes.io/proxy-connect-timeout: "5"
nginx.ingress.kubernetes.io/proxy-read-timeout: {{ include "gantry.routes.timeout" . | quote }}
nginx.ingress.kubernetes.io/proxy-send-timeout: {{ include "gantry.routes.timeout" . | quote }}
nginx.ingress.kubernetes.io/proxy-buffering: "off"
nginx.ingress.kubernetes.io/proxy-request-buffering: "off"
{{- end }}
{{- end }}
