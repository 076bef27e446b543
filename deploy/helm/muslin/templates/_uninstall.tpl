{{- /* A container that leaves its node clean; the init container ends then, the other one stays. */}}
{{- define "muslin.uninstall" -}}
image: {{ include "muslin.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args:
  - uninstall
  - --cni-bin-dir=/host/cni/bin
  - --cni-conf-dir=/host/cni/net.d
  - --state-dir=/host/state/{{ base .Values.stateDir }}
  - --run-dir=/host/run/{{ base .Values.runDir }}
  {{- if .stay }}
  - --stay
  {{- end }}
securityContext:
  {{- include "muslin.securityContext" (dict "root" . "capabilities" (list "NET_ADMIN")) | nindent 2 }}
volumeMounts:
  - {name: cni-bin, mountPath: /host/cni/bin}
  - {name: cni-conf, mountPath: /host/cni/net.d}
  - {name: state, mountPath: /host/state}
  - {name: run, mountPath: /host/run}
{{- end }}
