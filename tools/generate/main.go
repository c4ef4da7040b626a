// Command generate writes a FileDescriptorSet with every Envoy API file that the roots below need.
//
// The Go module of Envoy's API registers the descriptor of each file that it holds, so no .proto file and no
// protoc is needed. `buf generate` then turns the set into JavaScript, cut to the messages that are named in
// buf.gen.yaml (see there).
package main

import (
	"log"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	loggermodules "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/dynamic_modules/v3"
	otel "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/open_telemetry/v3"
	httpmodules "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_modules/v3"
	healthcheck "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"
	localratelimit "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	setfilterstate "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	listenermodules "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/dynamic_modules/v3"
	httpinspector "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	originaldst "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	originalsrc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_src/v3"
	directresponse "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/direct_response/v3"
	networkmodules "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/dynamic_modules/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkfilterstate "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	tcpproxy "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	earlyheaders "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	preservecase "github.com/envoyproxy/go-control-plane/envoy/extensions/http/header_formatters/preserve_case/v3"
	balancermodules "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/dynamic_modules/v3"
	matchinginputs "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	downstreamconnections "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	fixedheap "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	previoushosts "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	httpoptions "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

var roots = []protoreflect.FileDescriptor{
	bootstrap.File_envoy_config_bootstrap_v3_bootstrap_proto,
	loggermodules.File_envoy_extensions_access_loggers_dynamic_modules_v3_dynamic_modules_proto,
	otel.File_envoy_extensions_access_loggers_open_telemetry_v3_logs_service_proto,
	httpmodules.File_envoy_extensions_filters_http_dynamic_modules_v3_dynamic_modules_proto,
	healthcheck.File_envoy_extensions_filters_http_health_check_v3_health_check_proto,
	localratelimit.File_envoy_extensions_filters_http_local_ratelimit_v3_local_rate_limit_proto,
	lua.File_envoy_extensions_filters_http_lua_v3_lua_proto,
	router.File_envoy_extensions_filters_http_router_v3_router_proto,
	setfilterstate.File_envoy_extensions_filters_http_set_filter_state_v3_set_filter_state_proto,
	listenermodules.File_envoy_extensions_filters_listener_dynamic_modules_v3_dynamic_modules_proto,
	httpinspector.File_envoy_extensions_filters_listener_http_inspector_v3_http_inspector_proto,
	originaldst.File_envoy_extensions_filters_listener_original_dst_v3_original_dst_proto,
	originalsrc.File_envoy_extensions_filters_listener_original_src_v3_original_src_proto,
	directresponse.File_envoy_extensions_filters_network_direct_response_v3_config_proto,
	hcm.File_envoy_extensions_filters_network_http_connection_manager_v3_http_connection_manager_proto,
	networkmodules.File_envoy_extensions_filters_network_dynamic_modules_v3_dynamic_modules_proto,
	networkfilterstate.File_envoy_extensions_filters_network_set_filter_state_v3_set_filter_state_proto,
	tcpproxy.File_envoy_extensions_filters_network_tcp_proxy_v3_tcp_proxy_proto,
	balancermodules.File_envoy_extensions_load_balancing_policies_dynamic_modules_v3_dynamic_modules_proto,
	matchinginputs.File_envoy_extensions_matching_common_inputs_network_v3_network_inputs_proto,
	earlyheaders.File_envoy_extensions_http_early_header_mutation_header_mutation_v3_header_mutation_proto,
	preservecase.File_envoy_extensions_http_header_formatters_preserve_case_v3_preserve_case_proto,
	previoushosts.File_envoy_extensions_retry_host_previous_hosts_v3_previous_hosts_proto,
	downstreamconnections.File_envoy_extensions_resource_monitors_downstream_connections_v3_downstream_connections_proto,
	fixedheap.File_envoy_extensions_resource_monitors_fixed_heap_v3_fixed_heap_proto,
	httpoptions.File_envoy_extensions_upstreams_http_v3_http_protocol_options_proto,
	discovery.File_envoy_service_discovery_v3_ads_proto,
	discovery.File_envoy_service_discovery_v3_discovery_proto,
}

// collect appends file after everything that it imports, the order that a FileDescriptorSet needs.
func collect(file protoreflect.FileDescriptor, seen map[string]bool, set *descriptorpb.FileDescriptorSet) {
	if seen[file.Path()] {
		return
	}
	seen[file.Path()] = true
	for i := range file.Imports().Len() {
		collect(file.Imports().Get(i).FileDescriptor, seen, set)
	}
	set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
}

func main() {
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	for _, root := range roots {
		collect(root, seen, set)
	}
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := os.Stdout.Write(bytes); err != nil {
		log.Fatal(err)
	}
}
