{{/*
The objects are those of deploy/, which files/ links to; the templates do to them what the components there do by patches.
*/}}

{{- define "lightpath.image" -}}
{{ .image.repository }}:{{ .image.tag | default .context.Chart.AppVersion }}
{{- end }}

{{/* Names change with what is in them, so that pods are restarted for it, and only for it. */}}
{{- define "lightpath.envoyConfig" -}}
lightpath-envoy-{{ (.Files.Glob "files/proxy/*.json").AsConfig | sha256sum | trunc 10 }}
{{- end }}
{{- define "lightpath.apiServerConfig" -}}
lightpath-api-server-{{ .Values.apiServer | toJson | sha256sum | trunc 10 }}
{{- end }}

{{/* Gives every container its image and the pod its pull secrets. Changes `pod`. */}}
{{- define "lightpath.setImages" -}}
{{- $values := .context.Values }}
{{- $images := dict
  "lightpath" (include "lightpath.image" (dict "image" $values.images.agent "context" .context))
  "lightpath-proxy" (include "lightpath.image" (dict "image" $values.images.proxy "context" .context)) }}
{{- range concat (.pod.initContainers | default list) .pod.containers }}
{{- $_ := set . "image" (get $images .image | default .image) }}
{{- end }}
{{- with $values.imagePullSecrets }}
{{- $secrets := list }}
{{- range . }}{{ $secrets = append $secrets (dict "name" .) }}{{ end }}
{{- $_ := set $.pod "imagePullSecrets" $secrets }}
{{- end }}
{{- end }}
