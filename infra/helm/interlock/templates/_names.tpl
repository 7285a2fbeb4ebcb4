{{- define "interlock.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* What never changes of a role's pods: (dict "root" $ "role" "api") */}}
{{- define "interlock.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "interlock.labels" -}}
{{ include "interlock.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "interlock.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}
{{- end }}

{{/* Settings as the environment has them: text as it is, everything else as JSON */}}
{{- define "interlock.environment" -}}
{{- range $name, $value := .Values.settings }}
INTERLOCK_{{ upper $name }}: {{ if kindIs "string" $value }}{{ $value | quote }}{{ else }}{{ $value | toJson | quote }}{{ end }}
{{- end }}
{{- end }}

{{/* A role's Deployment: (dict "root" $ "role" "api" "port" 8080 "arguments" (list "api")) */}}
{{- define "interlock.deployment" -}}
{{- $given := index .root.Values .role -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "interlock.name" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "interlock.labels" . | nindent 4 }}
spec:
  {{- if not $given.autoscaling.enabled }}
  replicas: {{ $given.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels: {{- include "interlock.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "interlock.labels" . | nindent 8 }}
      annotations:
        # Other settings are other pods.
        checksum/settings: {{ include "interlock.environment" .root | sha256sum }}
        {{- with $given.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "interlock.name" .root }}
      automountServiceAccountToken: false
      # A service called interlock would otherwise put INTERLOCK_PORT and others into the environment, which are settings of ours.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $given.terminationGraceSeconds }}
      {{- with .root.Values.image.pullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        seccompProfile: {type: RuntimeDefault}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: topology.kubernetes.io/zone
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "interlock.selector" . | nindent 14 }}
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "interlock.selector" . | nindent 14 }}
      {{- with $given.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $given.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .role }}
          image: {{ include "interlock.image" .root | quote }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args: {{ .arguments | toJson }}
          envFrom:
            - configMapRef:
                name: {{ include "interlock.name" .root }}-settings
          ports:
            - {name: http, containerPort: {{ .port }}, protocol: TCP}
          startupProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 2
            timeoutSeconds: 2
            failureThreshold: 30
          livenessProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 10
            timeoutSeconds: 3
            failureThreshold: 3
          # Asks the store for a small commit, at most once a second, and gives it two.
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            periodSeconds: 5
            timeoutSeconds: 3
            failureThreshold: 2
          lifecycle:
            preStop:
              # Until load balancers have noticed; then SIGTERM, and what is under way is finished.
              sleep: {seconds: 5}
          resources: {{- toYaml $given.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: scratch, mountPath: /var/lib/interlock}
            - {name: temporary, mountPath: /tmp}
            {{- if .root.Values.authorities.configMap }}
            - {name: authorities, mountPath: /etc/interlock/authorities, readOnly: true}
            {{- end }}
      volumes:
        - name: scratch
          emptyDir: {sizeLimit: {{ .root.Values.scratchSize }}}
        - name: temporary
          emptyDir: {sizeLimit: {{ .root.Values.scratchSize }}}
        {{- with .root.Values.authorities.configMap }}
        - name: authorities
          configMap: {name: {{ . }}}
        {{- end }}
{{- end }}

{{/* A role's autoscaler and disruption budget: (dict "root" $ "role" "api") */}}
{{- define "interlock.scaling" -}}
{{- $given := index .root.Values .role -}}
{{- if $given.autoscaling.enabled -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "interlock.name" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "interlock.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "interlock.name" .root }}-{{ .role }}
  minReplicas: {{ $given.autoscaling.min }}
  maxReplicas: {{ $given.autoscaling.max }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: {type: Utilization, averageUtilization: {{ $given.autoscaling.cpuPercent }}}
  behavior:
    # Up at once, down slowly: each worker that goes makes its group share the partitions anew.
    scaleDown:
      stabilizationWindowSeconds: 300
      policies: [{type: Pods, value: 1, periodSeconds: 60}]
---
{{ end -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "interlock.name" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "interlock.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "interlock.selector" . | nindent 6 }}
{{- end }}
