-- Problems that end a request early: the runtime answers them as application/problem+json.

local problem = {}

function problem.throw(status: number, title: string, detail: string): never
	error({ status = status, title = title, detail = detail })
end

-- A field that is not as it must be.
function problem.field(name: string, why: string): never
	problem.throw(422, "A field is not as it must be", `{name} {why}`)
end

return problem
