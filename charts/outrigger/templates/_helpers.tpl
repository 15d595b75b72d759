{{- define "outrigger.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "outrigger.labels" -}}
{{ include "outrigger.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "outrigger.selector" -}}
app.kubernetes.io/name: outrigger-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "outrigger.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "outrigger.name" .) -}}
{{- end }}

{{- define "outrigger.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end }}

{{- define "outrigger.sidecarImage" -}}
{{- printf "%s:%s" .Values.sidecar.image.repository (.Values.sidecar.image.tag | default .Chart.AppVersion) -}}
{{- end }}
