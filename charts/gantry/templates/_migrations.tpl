{{/* Variables of `gantry migrate`: of the settings only those that it reads, and the role that owns the schema. */}}
{{- define "gantry.migrations.env" -}}
{{- range $name, $value := include "gantry.settings" . | fromYaml }}
{{- if regexMatch "^GANTRY_(ENVIRONMENT$|LOG__(LEVEL|FORMAT|BUFFER_LINES)$|DATABASE__(URL|DIRECT_URL|CONNECT|MIGRATION))" $name }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{ include "gantry.securityEnvironment" . }}
{{ include "gantry.databaseCredentials" (dict "root" $ "secret" (.Values.database.migrationsSecret | default .Values.database.existingSecret)) }}
{{ include "gantry.podIdentity" . }}
{{- end }}

{{/*
`spec` of the migration Job. Its hash is the Job's name, so it must not change unless there is something to do again: no version, no release
number, and of the settings only those that `gantry migrate` reads. They stand in here rather than in the ConfigMap, so that another
database is another Job.
*/}}
{{- define "gantry.migrations.spec" -}}
{{- $settings := .Values.migrations }}
{{- $arguments := dict "root" $ "component" "migrations" "settings" $settings }}
backoffLimit: {{ int $settings.backoffLimit }}
activeDeadlineSeconds: {{ int $settings.activeDeadlineSeconds }}
{{- if not (kindIs "invalid" $settings.ttlSecondsAfterFinished) }}
ttlSecondsAfterFinished: {{ int $settings.ttlSecondsAfterFinished }}
{{- end }}
podFailurePolicy:
  rules:
    # A drained node is no failure of the migration.
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
template:
  metadata:
    {{- include "gantry.stablePodMetadata" $arguments | nindent 4 }}
  spec:
    {{- include "gantry.podSettings" $arguments | nindent 4 }}
    # Each try is a pod of its own, and its log stays.
    restartPolicy: Never
    containers:
      - name: migrate
        image: {{ include "gantry.image" (dict "image" .Values.image "tag" .Chart.AppVersion) }}
        imagePullPolicy: {{ .Values.image.pullPolicy }}
        args: [migrate]
        env:
          {{- include "gantry.mergedEnv" (dict "env" (include "gantry.migrations.env" .) "extraEnv" $settings.extraEnv) | nindent 10 }}
        securityContext:
          {{- include "gantry.containerSecurity" . | nindent 10 }}
        resources:
          {{- toYaml $settings.resources | nindent 10 }}
        {{- with include "gantry.databaseCaMount" . }}
        volumeMounts:
          {{- . | nindent 10 }}
        {{- end }}
    {{- with include "gantry.databaseCaVolume" . }}
    volumes:
      {{- . | nindent 6 }}
    {{- end }}
{{- end }}
