{{/*
`metadata` of a pod that is no API pod: (dict "root" $ "component" "pgbouncer" "settings" .Values.pgbouncer "annotations" (dict ...)).
It holds nothing that changes from one release of Gantry to the next on its own (no version, no chart): whatever is not changed is not restarted.
*/}}
{{- define "gantry.stablePodMetadata" -}}
labels:
  {{- $own := merge (include "gantry.selectorLabels" . | fromYaml) (dict "app.kubernetes.io/part-of" "gantry") }}
  {{- merge $own (.settings.podLabels | default dict) (.root.Values.commonLabels | default dict) | toYaml | nindent 2 }}
{{- $scraped := include "gantry.scrapeAnnotations" . | fromYaml }}
{{- with merge (dict) (.annotations | default dict) (.settings.podAnnotations | default dict) $scraped (.root.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The database's user and password as libpq's variables: (dict "root" $ "secret" "name" "suffix" "_PREVIOUS"); suffix may be left out. */}}
{{- define "gantry.databaseCredentials" -}}
- name: PGUSER{{ .suffix | default "" }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret | quote }}
      key: {{ .root.Values.database.usernameKey | quote }}
- name: PGPASSWORD{{ .suffix | default "" }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret | quote }}
      key: {{ .root.Values.database.passwordKey | quote }}
{{- end }}
