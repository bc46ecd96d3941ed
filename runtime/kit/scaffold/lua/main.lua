-- {{name}}: what answers each path and service that the manifest names.

local greeting = require("lib/greeting")

return {
	-- Asked again and again while the module serves; an error, or any other status, is a reason to go back.
	health = function()
		kv.get("health")
		return { status = "healthy" }
	end,

	apis = {
		["GET /api/{{id}}/greet/{name}"] = function(req)
			return { body = greeting.greet(req.params.name) }
		end,
	},

	pages = {
		Home = function()
			return { body = `<h1>{{name}}</h1><p>{greeting.people()} people were greeted.</p>` }
		end,
	},

	services = {
		["{{id}}.greet"] = function(args)
			return greeting.greet(args.name)
		end,
	},
}
