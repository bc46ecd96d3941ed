-- What modules that depend on this one may ask, and what they may not.

return {
	["a statement with rows answers rows, and any other what it changed"] = function()
		assert.equal(test.call("database.sql", { sql = "select ? as n", params = { 7 } }), { rows = { { n = 7 } } })
	end,

	["a caller without tables has none"] = function()
		assert.equal(test.call("database.tables"), {})
	end,

	["a call that is no statement says what is wrong with it"] = function()
		for said, args in {
			["expected a map with sql and params, found string"] = "select 1",
			["sql must be a string, found number"] = { sql = 7 },
			["params must be a list, found number"] = { sql = "select 1", params = 7 },
		} do
			assert.fails(function()
				test.call("database.sql", args)
			end, said)
		end
	end,

	["a quick statement is not among the slow ones"] = function()
		test.call("database.sql", { sql = "select 1" })
		assert.equal(test.call("database.slow"), {})
	end,

	["is healthy"] = function()
		assert.equal(test.health().status, "healthy")
	end,
}
