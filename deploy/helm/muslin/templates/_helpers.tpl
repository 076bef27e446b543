{{- define "muslin.name" -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "muslin.selector" -}}
app.kubernetes.io/name: muslin
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "muslin.labels" -}}
{{ include "muslin.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "muslin.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "muslin.name" .) }}
{{- end }}

{{- define "muslin.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /*
What differs between platforms. With their own network switched off, all of them leave the container runtime's folders
where it has them by itself: k3s with `flannel-backend: none`, RKE2 with `cni: none`, Talos with the CNI `none`.
*/}}
{{- define "muslin.platforms" -}}
kubeadm: {binDir: /opt/cni/bin, confDir: /etc/cni/net.d}
k3s: {binDir: /opt/cni/bin, confDir: /etc/cni/net.d}
rke2: {binDir: /opt/cni/bin, confDir: /etc/cni/net.d}
# KubePrism, a balancer in front of the API servers on every node.
talos: {binDir: /opt/cni/bin, confDir: /etc/cni/net.d, apiServer: {host: localhost, port: 7445}}
{{- end }}

{{- define "muslin.platform" -}}
{{ get (include "muslin.platforms" . | fromYaml) .Values.platform | toYaml }}
{{- end }}

{{- define "muslin.binDir" -}}
{{ .Values.cni.binDir | default (include "muslin.platform" . | fromYaml).binDir }}
{{- end }}

{{- define "muslin.confDir" -}}
{{ .Values.cni.confDir | default (include "muslin.platform" . | fromYaml).confDir }}
{{- end }}

{{- define "muslin.apiServer" -}}
{{- $preset := (include "muslin.platform" . | fromYaml).apiServer }}
{{- $own := ternary .Values.apiServer $preset (not (empty .Values.apiServer.host)) }}
{{- with $own }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ .host | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ .port | quote }}
{{- end }}
{{- end }}

{{- /* What every container of ours may do: nothing, but for the capabilities that are named. */}}
{{- define "muslin.securityContext" -}}
runAsUser: 0
runAsGroup: 0
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
{{- with .capabilities }}
  add: {{ toJson . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- with .root.Values.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
