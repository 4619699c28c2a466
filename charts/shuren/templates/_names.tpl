{{- define "shuren.fullname" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride }}
{{- else if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Name of the operator's Deployment, ServiceAccount, roles. */}}
{{- define "shuren.operator" -}}{{ include "shuren.fullname" . }}-operator{{- end }}

{{- define "shuren.serviceAccount" -}}
{{- if .Values.serviceAccount.name }}{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create }}{{ include "shuren.operator" . }}
{{- else }}{{ fail "serviceAccount.name: name the ServiceAccount to use, since serviceAccount.create is false" }}
{{- end }}
{{- end }}

{{- /* Labels that never change, of one component: (list . "operator"). */}}
{{- define "shuren.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: shuren
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* All labels of one component's objects: (list . "operator"). */}}
{{- define "shuren.labels" -}}
{{- $root := index . 0 -}}
{{ include "shuren.selector" . }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "shuren.image" -}}
{{- with .Values.image -}}
{{ if .digest }}{{ printf "%s@%s" .repository .digest }}{{ else }}{{ printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) }}{{ end }}
{{- end }}
{{- end }}

{{- /* What restricted Pod Security asks of a container, and a root filesystem that nobody writes. */}}
{{- define "shuren.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "shuren.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- /* Spread over nodes and zones, never so strictly that a replica has no place: (list . "operator"). */}}
{{- define "shuren.spread" -}}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "shuren.selector" $ | nindent 6 }}
{{- end }}
{{- end }}

{{- /* Where an agent beside traffic finds ZooKeeper: (list .Values.dns.zookeeper "dns"). */}}
{{- define "shuren.zookeeperEnv" -}}
{{- $zookeeper := index . 0 }}
{{- $key := index . 1 }}
- name: SHUREN_ZOOKEEPER
  value: {{ required (printf "%s.zookeeper.hosts: name the servers, as zk-1:2181,zk-2:2181" $key) $zookeeper.hosts | quote }}
- name: SHUREN_ROOT
  value: {{ required (printf "%s.zookeeper.root: say MesosCluster.spec.zookeeper.root" $key) $zookeeper.root | quote }}
{{- with $zookeeper.authSecretName }}
- name: SHUREN_ZOOKEEPER_USERNAME
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: username}}
- name: SHUREN_ZOOKEEPER_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: password}}
- name: SHUREN_ZOOKEEPER_SCHEME
  value: {{ $zookeeper.authScheme | quote }}
{{- end }}
{{- end }}

{{- /* Probes of a process that serves /healthz and /readyz on the port `metrics`: .Values.operator and its like. */}}
{{- define "shuren.probes" -}}
{{- $scheme := ternary ", scheme: HTTPS" "" (ne .metricsTls.secretName "") }}
startupProbe:
  httpGet: {path: /healthz, port: metrics{{ $scheme }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: metrics{{ $scheme }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: metrics{{ $scheme }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{- /* TLS of those pages, in three places of a pod: .Values.operator and its like. */}}
{{- define "shuren.metricsTlsEnv" -}}
{{- with .metricsTls }}
{{- if .secretName }}
- {name: SHUREN_METRICS_CERTIFICATE, value: /etc/shuren/metrics-tls/tls.crt}
- {name: SHUREN_METRICS_KEY, value: /etc/shuren/metrics-tls/tls.key}
{{- if .clientCertificates }}
- {name: SHUREN_METRICS_CLIENT_CA, value: /etc/shuren/metrics-tls/ca.crt}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "shuren.metricsTlsMount" -}}
{{- if .metricsTls.secretName }}
- {name: metrics-tls, mountPath: /etc/shuren/metrics-tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "shuren.metricsTlsVolume" -}}
{{- with .metricsTls.secretName }}
- name: metrics-tls
  secret: {secretName: {{ . | quote }}, defaultMode: 288}
{{- end }}
{{- end }}

{{- /* Refuses a list in which two entries have one name: ("rbac.secrets.names" "namespace" list). */}}
{{- define "shuren.once" -}}
{{- $key := index . 0 }}
{{- $field := index . 1 }}
{{- $seen := list }}
{{- range index . 2 }}
{{- $one := get . $field | toString }}
{{- if has $one $seen }}
{{- fail (printf "%s: the %s %s stands there twice" $key $field $one) }}
{{- end }}
{{- $seen = append $seen $one }}
{{- end }}
{{- end }}
