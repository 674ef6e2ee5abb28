-- Deterministic work for Lua: tables, closures, metatables, strings and patterns, sorting, recursion.
-- Prints as it goes; never prints the order of `pairs`, which depends on addresses.
local sum = 2166136261

local function note(text)
  for i = 1, #text do sum = ((sum ~ text:byte(i)) * 16777619) & 0xffffffff end
end

local function generator(seed)
  return function(limit)
    seed = (seed * 6364136223846793005 + 1442695040888963407)
    return (seed >> 33) % limit
  end
end

local Vector = {}
Vector.__index = Vector
Vector.__add = function(a, b) return setmetatable({ x = a.x + b.x, y = a.y + b.y }, Vector) end
Vector.__eq = function(a, b) return a.x == b.x and a.y == b.y end
Vector.__tostring = function(v) return string.format("(%.3f, %.3f)", v.x, v.y) end

local function sorting(random)
  local people = {}
  for i = 1, 6000 do people[i] = { id = i, age = random(90), name = "p" .. random(1000000) } end
  table.sort(people, function(a, b)
    if a.age ~= b.age then return a.age < b.age end
    if a.name ~= b.name then return a.name < b.name end
    return a.id < b.id
  end)
  local parts = {}
  for i = 1, 20 do parts[i] = people[i * 250].name end
  return table.concat(parts, ",")
end

local function words(random)
  local letters = {}
  for i = 1, 20000 do letters[i] = random(5) == 0 and " " or string.char(97 + random(6)) end
  local text = table.concat(letters)
  local count, longest = {}, ""
  for word in text:gmatch("%f[%a][a-c]+[d-f]?%f[%A]") do
    count[word] = (count[word] or 0) + 1
    if #word > #longest then longest = word end
  end
  local swapped, times = text:gsub("(%a)(%a)", "%2%1")
  return longest .. count["a"] .. swapped:sub(1, 60):upper() .. times
end

local function walk(random)
  local position, step = setmetatable({ x = 0, y = 0 }, Vector), setmetatable({ x = 0, y = 0 }, Vector)
  for _ = 1, 30000 do
    step.x, step.y = random(2001) / 1000 - 1, random(2001) / 1000 - 1
    position = position + step
  end
  return tostring(position)
end

local function queens(size)
  local columns, rising, falling = {}, {}, {}
  local function place(row)
    if row > size then return 1 end
    local ways = 0
    for column = 1, size do
      if not (columns[column] or rising[row + column] or falling[row - column]) then
        columns[column], rising[row + column], falling[row - column] = true, true, true
        ways = ways + place(row + 1)
        columns[column], rising[row + column], falling[row - column] = nil, nil, nil
      end
    end
    return ways
  end
  return tostring(place(1))
end

local function fibonacci(n)
  if n < 2 then return n end
  return fibonacci(n - 1) + fibonacci(n - 2)
end

local random = generator(11)
for round = 1, 5 do
  for _, result in ipairs({ sorting(random), words(random), walk(random), queens(8), tostring(fibonacci(24)) }) do
    note(result)
  end
  print(string.format("round %d: %08x", round, sum))
end
