/** The source that follows the Kubernetes API. All its tests share two API servers, so that they are one test file. */

import './changes.ts'
import './outages.ts'
import './lists.ts'
import './access.ts'
import './control-plane.ts'
