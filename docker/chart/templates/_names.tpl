{{- /* What our objects' names begin with: the release's name, where that can begin a Service's. A release's may have dots and begin
       with a digit, and no two become one. */ -}}
{{- define "pillion.name" -}}
{{- $name := .Release.Name -}}
{{- if regexMatch "^[a-z][a-z0-9-]*$" $name -}}
{{ $name }}
{{- else -}}
p-{{ $name | replace "." "-" | trunc 41 | trimSuffix "-" }}-{{ sha256sum $name | trunc 8 }}
{{- end -}}
{{- end -}}
{{- /* Words where somebody captures what goes out of pods and what comes in, and nothing where nobody does both. */ -}}
{{- define "pillion.captures" -}}
{{- with .Values.nodeAgent -}}
{{- if .elsewhere -}}elsewhere{{- else if .enabled -}}{{ include "pillion.capturesInbound" $ }}{{- end -}}
{{- end -}}
{{- end -}}
{{- /* The same of the agent of this chart, if it runs: half of it would be none to a pod. */ -}}
{{- define "pillion.capturesInbound" -}}
{{- with .Values.nodeAgent -}}
{{- if and .captureOutbound .captureInbound -}}here{{- end -}}
{{- end -}}
{{- end -}}
{{- define "pillion.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}{{ with .tag }}:{{ . }}{{ end }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* The image that installs rules; nothing where the program knows it by the other one. */ -}}
{{- define "pillion.initImage" -}}
{{- $of := .Values.image -}}
{{- $init := .Values.initImage | default dict -}}
{{- if or $init.repository $init.tag $init.digest -}}
{{- $init.repository | default $of.repository -}}
{{- if $init.digest -}}
{{ with $init.tag }}:{{ . }}{{ end }}@{{ $init.digest }}
{{- else -}}
:{{ $init.tag | default (printf "%s-init" ($of.tag | default .Chart.AppVersion)) }}
{{- end -}}
{{- else if and $of.digest (eq (dig "settings" "capture" "init" .Values.injector) "init") -}}
{{- fail "image.digest names one image, and not the one that installs rules: set initImage.digest or initImage.tag as well, or injector.settings.capture to node or none" -}}
{{- end -}}
{{- end -}}
{{- /* What the injector would refuse at its start. */ -}}
{{- define "pillion.agree" -}}
{{- $of := .Values.injector.settings | default dict -}}
{{- if and (has (get $of "inbound-tls") (list "strict" "permissive")) (has (get $of "identity") (list "" "none")) -}}
{{- fail "injector.settings.inbound-tls: mutual TLS needs certificates: set injector.settings.identity as well" -}}
{{- end -}}
{{- if and (eq (get $of "capture") "node") (not (include "pillion.captures" .)) -}}
{{- fail "injector.settings.capture: with node no pod would be captured: set nodeAgent.enabled, nodeAgent.captureOutbound and nodeAgent.captureInbound as well, or nodeAgent.elsewhere if another agent captures" -}}
{{- end -}}
{{- if and (eq (get $of "redirect") "agent") (not (or .Values.nodeAgent.enabled .Values.nodeAgent.elsewhere)) -}}
{{- fail "injector.settings.redirect: with agent and none on the nodes all would go through TCP as before: set nodeAgent.enabled as well, or nodeAgent.elsewhere if another agent redirects" -}}
{{- end -}}
{{- $capture := get $of "capture" | default "init" -}}
{{- if eq $capture "none" -}}
{{- range list "skip-inbound-ports" "skip-outbound-ports" "skip-outbound-cidrs" -}}
{{- if get $of . -}}
{{- fail (printf "injector.settings.%s: nothing is captured with capture none: take it out" .) -}}
{{- end -}}
{{- end -}}
{{- if not (or (get $of "config") (get $of "inbound-ports") (get $of "upstreams")) -}}
{{- fail "injector.settings.capture: with none the proxy would do nothing: set inbound-ports, upstreams or config as well" -}}
{{- end -}}
{{- end -}}
{{- $own := list 15000 15001 15006 15020 15099 -}}
{{- if eq $capture "node" -}}
{{- $own = append $own 15098 -}}
{{- end -}}
{{- range splitList "," (get $of "inbound-ports") -}}
{{- $own = append $own (splitList ":" . | first | trim | atoi) -}}
{{- end -}}
{{- range splitList "," (get $of "skip-inbound-ports" | toString) -}}
{{- $ends := splitList "-" . -}}
{{- $from := first $ends | trim | atoi -}}
{{- $to := last $ends | trim | atoi -}}
{{- range $own -}}
{{- if and . (le $from .) (le . $to) -}}
{{- fail (printf "injector.settings.skip-inbound-ports: the proxy's own port %d is led to nobody else, skipped or not: write the application's alone" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq $capture "node" -}}
{{- range $name, $instead := dict "skip-outbound-ports" "excludePorts" "skip-outbound-cidrs" "excludeCidrs" -}}
{{- if get $of $name -}}
{{- fail (printf "injector.settings.%s: with capture node the node's agent leaves them out, for all pods of the node: set nodeAgent.%s instead" $name $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $capture "init") (get $of "inbound-ports") -}}
{{- fail "injector.settings.inbound-ports: for capture none, and node where clients know them: captured ports need no other ones" -}}
{{- end -}}
{{- range splitList "," (get $of "upstreams") -}}
{{- $local := regexMatch "^ *[0-9]+ *:" . -}}
{{- if and $local (ne $capture "none") -}}
{{- fail (printf "injector.settings.upstreams: %s: a local port is for capture none only" .) -}}
{{- end -}}
{{- if and (trim .) (not $local) (eq $capture "none") -}}
{{- fail (printf "injector.settings.upstreams: %s: with capture none each needs a local port, as 15432:postgres.shop:5432" .) -}}
{{- end -}}
{{- if and (contains "=" .) (has (get $of "identity") (list "" "none")) -}}
{{- fail (printf "injector.settings.upstreams: %s: to tell who it is needs certificates: set injector.settings.identity as well" .) -}}
{{- end -}}
{{- end -}}
{{- if and (get $of "config") (eq $capture "node") (get $of "skip-inbound-ports") -}}
{{- fail "injector.settings.skip-inbound-ports: belongs to a generated configuration: with config, write it there" -}}
{{- end -}}
{{- if get $of "config" -}}
{{- $usual := dict "redirect" "none" "discovery" "dns" "trust-domain" "cluster.local" "cluster-domain" "cluster.local" "workers" "1" "drain-delay" "5s" -}}
{{- range list "redirect" "inbound-ports" "upstreams" "opaque-ports" "discovery" "filters" "inbound-tls" "trust-domain" "cluster-domain" "workers" "drain-delay" "drain-deadline" -}}
{{- $value := "" -}}
{{- if hasKey $of . -}}
{{- $value = get $of . | toString -}}
{{- end -}}
{{- if and $value (ne $value (get $usual .)) -}}
{{- fail (printf "injector.settings.%s: belongs to a generated configuration: with config, write it there" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* Written in one unit they can be compared; the others the injector compares. */ -}}
{{- range list (list "cpu" "10m" "none") (list "memory" "16Mi" "128Mi") -}}
{{- $request := get $of (printf "%s-request" (index . 0)) | default (index . 1) | toString -}}
{{- $limit := get $of (printf "%s-limit" (index . 0)) | default (index . 2) | toString -}}
{{- $unit := regexFind "[A-Za-z]*$" $request -}}
{{- $whole := printf "^[0-9]+%s$" $unit -}}
{{- if and (regexMatch $whole $request) (regexMatch $whole $limit) (lt (trimSuffix $unit $limit | atoi) (trimSuffix $unit $request | atoi)) -}}
{{- fail (printf "injector.settings.%s-limit: %s is below the request of %s" (index . 0) $limit $request) -}}
{{- end -}}
{{- end -}}
{{- if and (get $of "zone") (ne (get $of "discovery") "endpoint-slices") -}}
{{- fail "injector.settings.zone: hints are in EndpointSlices: set injector.settings.discovery to endpoint-slices as well" -}}
{{- end -}}
{{- end -}}
{{- /* A value behind a flag, as the program reads it and as a kubelet leaves it. YAML takes `off` for false. */ -}}
{{- define "pillion.setting" -}}
{{- $value := .value -}}
{{- if and (kindIs "bool" $value) (ne .name "rewrite-probes") -}}
{{- $value = "off" -}}
{{- end -}}
{{- if not (kindIs "string" $value) -}}
{{- $value = toJson $value -}}
{{- end -}}
{{- $value | replace "$" "$$" | quote -}}
{{- end -}}
{{- define "pillion.labels" -}}
app.kubernetes.io/name: pillion
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
{{- /* The nodes that were chosen, of those that run Linux. */ -}}
{{- define "pillion.nodes" -}}
{{- merge (dict "kubernetes.io/os" "linux") (.nodeSelector | default dict) | toYaml -}}
{{- end -}}
{{- define "pillion.restricted" -}}
runAsUser: 2510
runAsGroup: 2510
runAsNonRoot: true
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end -}}
