{{/* The name of all that the release makes in its own namespace. */}}
{{- define "outrigger.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* The name of what has no namespace: releases of one name in two namespaces must not share it. */}}
{{- define "outrigger.clusterName" -}}
{{- printf "outrigger:%s:%s" .Release.Namespace (include "outrigger.name" .) -}}
{{- end }}

{{- define "outrigger.labels" -}}
{{ include "outrigger.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "outrigger.selector" -}}
app.kubernetes.io/name: outrigger-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "outrigger.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "outrigger.name" .) -}}
{{- end }}

{{/* An image with its digest, or else its tag, or else the chart's appVersion. Takes (list $ IMAGE). */}}
{{- define "outrigger.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end }}
