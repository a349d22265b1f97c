CREATE INDEX reviews_of_product ON reviews (product_id, stars);
