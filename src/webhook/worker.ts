/** The thread that reads large reviews. */

import { serve } from '../worker/serve.ts'
import { review } from './review.ts'

serve(async (body: Uint8Array) => ({ answer: review(new TextDecoder().decode(body)) }))
