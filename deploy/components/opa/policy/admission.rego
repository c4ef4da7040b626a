# METADATA
# description: >-
#   Hands new Services to Lightpath: the answer to an AdmissionReview. The rule and its reasons: src/services/handover/rule.ts. The API
#   server has left out namespaces that opted out, by namespaceSelector.
package lightpath.admission

proxy_name := "service.kubernetes.io/service-proxy-name"

ours := "lightpath.cloud"

excluded_namespaces := {"lightpath-system", "kube-system", "cert-manager"}

review := {
	"apiVersion": "admission.k8s.io/v1",
	"kind": "AdmissionReview",
	"response": object.union({"uid": input.request.uid, "allowed": true}, change),
}

default change := {}

change := {"patchType": "JSONPatch", "patch": base64.encode(json.marshal([addition]))} if hand_over

# A member can only be added to an object that is there.
addition := {"op": "add", "path": path, "value": ours} if {
	is_object(input.request.object.metadata.labels)
	path := sprintf("/metadata/labels/%s", [replace(replace(proxy_name, "~", "~0"), "/", "~1")])
} else := {"op": "add", "path": "/metadata/labels", "value": {proxy_name: ours}}

hand_over if {
	is_new_service
	not left
}

is_new_service if {
	input.request.operation == "CREATE"
	input.request.kind == {"group": "", "version": "v1", "kind": "Service"}
	object.get(input.request, "subResource", "") == ""
}

labels := object.get(input.request.object, ["metadata", "labels"], {})

spec := object.get(input.request.object, "spec", {})

# Why a Service stays as it is, whichever of these holds.
left if object.get(labels, proxy_name, null) != null

left if object.get(labels, "lightpath.cloud/proxy", "") == "disabled"

left if input.request.namespace in excluded_namespaces

left if {
	input.request.namespace == "default"
	input.request.object.metadata.name == "kubernetes"
}

left if object.get(spec, "type", "") == "ExternalName"

left if object.get(spec, "clusterIP", "") == "None"
