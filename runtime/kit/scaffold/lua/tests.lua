-- Run by `replug test .`: each function is a test, and each begins with nothing stored.

local greeting = require("lib/greeting")

return {
	["greets by name and counts"] = function()
		local answer = test.request({ path = "/api/{{id}}/greet/ada" })
		assert.equal(answer.status, 200)
		assert.equal(answer.json, { message = "Hello, ada!", count = 1 })
		assert.equal(test.request({ path = "/api/{{id}}/greet/ada" }).json.count, 2)
	end,

	["takes its words from the settings"] = function()
		test.config("greeting", "Salut")
		assert.equal(greeting.greet("bob").message, "Salut, bob!")
	end,

	["other modules can greet too"] = function()
		assert.equal(test.call("{{id}}.greet", { name = "ada" }).count, 1)
	end,

	["shows how many people were greeted"] = function()
		greeting.greet("ada")
		greeting.greet("bob")
		assert.contains(test.page("Home").body, "2 people")
	end,

	["is healthy"] = function()
		assert.equal(test.health().status, "healthy")
	end,
}
