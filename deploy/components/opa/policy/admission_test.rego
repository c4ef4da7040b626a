package lightpath.admission_test

import data.lightpath.admission

key := "service.kubernetes.io/service-proxy-name"

request := {
	"uid": "1",
	"kind": {"group": "", "version": "v1", "kind": "Service"},
	"operation": "CREATE",
	"namespace": "shop",
	"object": {"metadata": {"name": "a"}, "spec": {"type": "ClusterIP"}},
}

# The patch of a request that differs from the one above; none where there is none.
patch_of(differences) := patch if {
	response := admission.review.response with input as {"request": object.union(request, differences)}
	response.allowed
	response.uid == "1"
	patch := json.unmarshal(base64.decode(object.get(response, "patch", base64.encode("[]"))))
}

with_labels(labels) := {"object": {"metadata": {"labels": labels}}}

test_without_labels_gets_labels if {
	patch_of({}) == [{"op": "add", "path": "/metadata/labels", "value": {key: "lightpath.cloud"}}]
	patch_of(with_labels(null)) == patch_of({})
}

test_with_labels_gets_one_more if {
	member := {"op": "add", "path": "/metadata/labels/service.kubernetes.io~1service-proxy-name", "value": "lightpath.cloud"}
	patch_of(with_labels({})) == [member]
	patch_of(with_labels({"app": "a"})) == [member]
}

test_label_that_is_there_stays if {
	every value in ["lightpath.cloud", "cilium", ""] { patch_of(with_labels({key: value})) == [] }
}

test_opted_out_stays if {
	patch_of(with_labels({"lightpath.cloud/proxy": "disabled"})) == []
	patch_of(with_labels({"lightpath.cloud/proxy": "enabled"})) != []
}

test_excluded_namespaces_stay if {
	every namespace in ["lightpath-system", "kube-system", "cert-manager"] { patch_of({"namespace": namespace}) == [] }
}

test_api_server_stays if {
	kubernetes := {"object": {"metadata": {"name": "kubernetes"}}}
	patch_of(object.union(kubernetes, {"namespace": "default"})) == []
	patch_of(kubernetes) != []
}

test_without_vip_stays if {
	patch_of({"object": {"spec": {"type": "ExternalName"}}}) == []
	patch_of({"object": {"spec": {"clusterIP": "None"}}}) == []
}

test_only_creation_of_v1_service if {
	every operation in ["UPDATE", "DELETE", "CONNECT"] { patch_of({"operation": operation}) == [] }
	every other in [{"group": "x"}, {"version": "v2"}, {"kind": "Endpoints"}] { patch_of({"kind": other}) == [] }
	patch_of({"subResource": "status"}) == []
}
