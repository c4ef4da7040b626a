package system.authz_test

import data.system.authz

test_reviews_and_health_are_for_everybody if {
	authz.allow with input as {"method": "POST", "path": ["v0", "data", "lightpath", "admission", "review"]}
	authz.allow with input as {"method": "GET", "path": ["health"]}
}

test_the_rest_of_the_api_is_for_nobody if {
	every method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
		every path in [[""], ["v1", "policies", "a"], ["v1", "data"], ["v0", "data"], ["v1", "query"], ["metrics"]] {
			not authz.allow with input as {"method": method, "path": path}
		}
	}
}
