{{- define "moorage.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "moorage.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains .Chart.Name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "moorage.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "moorage.selector" -}}
app.kubernetes.io/name: {{ include "moorage.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "moorage.labels" -}}
{{ include "moorage.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "moorage.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "moorage.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "moorage.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "moorage.driver" -}}
{{- dig "storage" "driver" "local" .Values.config }}
{{- end }}

{{- /* Whether the content lies on a volume of the chart. */ -}}
{{- define "moorage.volume" -}}
{{- if and (eq (include "moorage.driver" .) "local") .Values.persistence.enabled }}yes{{ end }}
{{- end }}

{{- define "moorage.config" -}}
{{- $chart := dict
  "registry" (dict "listen" ":5000")
  "ops" (dict "listen" (printf ":%v" .Values.metrics.port))
  "access" (dict "rules_file" "/etc/moorage/access.yaml")
  "workers" (int .Values.workers)
  "drain_seconds" .Values.drainSeconds
  "grace_seconds" .Values.graceSeconds }}
{{- $_ := set $chart "url" (required "url: name the address that clients use (--set url=https://registry.example.com)" .Values.url) }}
{{- if eq (include "moorage.driver" .) "local" }}{{ $_ := set $chart "storage" (dict "root" "/var/lib/moorage") }}{{ end }}
{{- if .Values.seal.existingSecret }}{{ $_ := set $chart.access "seal_key_file" "/etc/moorage-seal/seal.key" }}{{ end }}
{{- if .Values.cache.enabled }}{{ $_ := set $chart "cache" (dict "directory" "/var/cache/moorage" "blobs" (printf "%vB" .Values.cache.size)) }}{{ end }}
{{- mergeOverwrite (deepCopy .Values.config) $chart | toYaml }}
{{- end }}
